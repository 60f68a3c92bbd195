//! The result for people.

use std::fmt::Write as _;

use super::plan::{Effect, Outcome, Report};
use crate::printable;

/// What would happen, then the steps.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for controller in &report.controllers {
        let state = if controller.ready {
            "is running"
        } else {
            "is not running"
        };
        line(
            &mut out,
            "",
            &format!("Controller {}/{} {state}.", controller.namespace, controller.name),
        );
    }
    if let Some(why) = &report.unread {
        let note = format!("Whether a controller runs is not known, and assumed: {why}");
        line(&mut out, "", &note);
    } else if report.controllers.is_empty() {
        line(
            &mut out,
            "",
            "No Deployment of the controller was found; a controller outside of the cluster is not seen.",
        );
    }
    for definition in report.definitions.iter().filter(|definition| definition.deleting) {
        line(
            &mut out,
            "",
            &format!("The definition {} is being deleted.", definition.name),
        );
    }
    for (title, effect) in [
        ("Would be deleted in Azure:", Effect::ConnectorDeleted),
        ("Effect in Azure unknown:", Effect::Unknown),
    ] {
        let found: Vec<_> = report
            .objects
            .iter()
            .filter(|object| object.azure == effect)
            .collect();
        section(
            &mut out,
            title,
            found.iter().map(|object| (*object, object.explanation.as_str())),
        );
    }
    let waiting = report
        .objects
        .iter()
        .filter_map(|object| Some((object, object.waits_for.as_deref()?)));
    section(&mut out, "A deletion would wait for:", waiting);
    let unchanged = report
        .objects
        .iter()
        .filter(|object| object.azure == Effect::Unchanged);
    let unchanged = unchanged.map(|object| (object, object.explanation.as_str()));
    section(&mut out, "Can be deleted; nothing changes in Azure:", unchanged);
    let has_definitions = report.unread.is_some() || !report.definitions.is_empty();
    if !has_definitions {
        out.push_str("The custom resource definitions are not installed, so the cluster has no objects.\n");
    }
    let result = if !has_definitions && report.objects.is_empty() && report.controllers.is_empty() {
        "\nNothing is left to delete."
    } else if report.safe {
        "\nDeleting everything changes nothing in Azure, and nothing would wait."
    } else {
        "\nDo not delete anything yet."
    };
    let _ = writeln!(out, "{result}");
    for (number, step) in report.steps.iter().enumerate() {
        line(&mut out, "", &format!("{}. {}:", number + 1, step.title));
        for command in &step.commands {
            line(&mut out, "     ", command);
        }
    }
    out
}

fn section<'a>(out: &mut String, title: &str, objects: impl Iterator<Item = (&'a Outcome, &'a str)>) {
    for (number, (object, what)) in objects.enumerate() {
        if number == 0 {
            let _ = writeln!(out, "\n{title}");
        }
        let state = if object.deleting { " (being deleted)" } else { "" };
        let name = format!(
            "{} {}/{}{state}: {what}",
            object.kind, object.namespace, object.name
        );
        line(out, "  ", &name);
    }
}

/// Names and messages come from the cluster.
fn line(out: &mut String, indent: &str, text: &str) {
    let _ = writeln!(out, "{indent}{}", printable::one_line(text));
}
