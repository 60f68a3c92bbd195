//! What a direct GET of a machine says, and how it changes the machine of a row. A second read that does not contain a
//! fact does not contradict the first one, so each fact of the row is kept unless the GET contains it.

use serverprotection_core::{
    Timestamp,
    machines::{ArcAgent, Machine, MdeExtension, Service},
};

/// The facts in a direct GET that may differ from Resource Graph. `None` if the response does not contain a fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) power: Option<String>,
    pub(super) os_name: Option<String>,
    pub(super) os_sku: Option<String>,
    pub(super) os_version: Option<String>,
    pub(super) arc: Option<ArcFacts>,
    pub(super) extensions: Option<Vec<MdeExtension>>,
}

/// The same for the agent of an Arc machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ArcFacts {
    pub(super) status: Option<ArcStatus>,
    pub(super) agent_version: Option<String>,
    pub(super) extensions_enabled: Option<String>,
    pub(super) allow_list: Option<Vec<String>>,
    pub(super) block_list: Option<Vec<String>>,
    pub(super) extension_service: Option<Service>,
}

/// The status of an agent, whose reason and time mean nothing without it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ArcStatus {
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) last_change: Option<Timestamp>,
}

impl Facts {
    /// Replaces what Resource Graph says about the machine.
    pub(super) fn apply_to(&self, machine: &mut Machine) {
        replace(&mut machine.power, self.power.as_ref());
        replace(&mut machine.os_name, self.os_name.as_ref());
        replace(&mut machine.os_sku, self.os_sku.as_ref());
        replace(&mut machine.os_version, self.os_version.as_ref());
        if let Some(arc) = &self.arc {
            arc.apply_to(machine.arc.get_or_insert_default());
        }
        if let Some(extensions) = &self.extensions {
            let of_row = std::mem::replace(&mut machine.extensions, extensions.clone());
            for extension in &mut machine.extensions {
                let same = |row: &&MdeExtension| row.name.eq_ignore_ascii_case(&extension.name);
                if let Some(row) = of_row.iter().find(same) {
                    keep(extension, row);
                }
            }
        }
    }
}

impl ArcFacts {
    fn apply_to(&self, agent: &mut ArcAgent) {
        if let Some(found) = &self.status {
            agent.status.clone_from(&found.status);
            agent.status_reason.clone_from(&found.reason);
            agent.last_status_change = found.last_change;
        }
        replace(&mut agent.agent_version, self.agent_version.as_ref());
        replace(&mut agent.extensions_enabled, self.extensions_enabled.as_ref());
        replace(&mut agent.allow_list, self.allow_list.as_ref());
        replace(&mut agent.block_list, self.block_list.as_ref());
        replace(&mut agent.extension_service, self.extension_service.as_ref());
    }
}

fn replace<T: Clone>(known: &mut T, found: Option<&T>) {
    if let Some(found) = found {
        known.clone_from(found);
    }
}

/// Keeps what only the row says about the extension. The instance view belongs to a state: that of another state has
/// ended with it.
fn keep(extension: &mut MdeExtension, row: &MdeExtension) {
    // Not every response contains `systemData`.
    extension.modified = extension.modified.or(row.modified);
    extension.unified = extension.unified.or(row.unified);
    if extension.version.is_empty() {
        extension.version.clone_from(&row.version);
    }
    if extension.state.is_empty() {
        extension.state.clone_from(&row.state);
    }
    let has_view = extension.at.is_some()
        || [&extension.code, &extension.level, &extension.message]
            .iter()
            .any(|text| !text.is_empty());
    if !has_view && extension.state.eq_ignore_ascii_case(&row.state) {
        extension.code.clone_from(&row.code);
        extension.level.clone_from(&row.level);
        extension.message.clone_from(&row.message);
        extension.evidence.clone_from(&row.evidence);
        extension.at = row.at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> MdeExtension {
        MdeExtension {
            name: "MDE.Linux".into(),
            type_: "MDE.Linux".into(),
            state: "Succeeded".into(),
            version: "1.0".into(),
            unified: Some(true),
            code: "4".into(),
            level: "Error".into(),
            message: "no".into(),
            at: Timestamp::from_second(5).ok(),
            modified: Timestamp::from_second(6).ok(),
            ..MdeExtension::default()
        }
    }

    fn after(found: MdeExtension) -> MdeExtension {
        let mut machine = Machine {
            extensions: vec![row()],
            ..Machine::default()
        };
        let facts = Facts {
            extensions: Some(vec![found]),
            ..Facts::default()
        };
        facts.apply_to(&mut machine);
        machine.extensions.remove(0)
    }

    fn found(state: &str, level: &str) -> MdeExtension {
        MdeExtension {
            name: "mde.linux".into(),
            type_: "MDE.Linux".into(),
            state: state.into(),
            level: level.into(),
            ..MdeExtension::default()
        }
    }

    #[test]
    fn an_extension_without_an_instance_view_keeps_that_of_its_row() {
        for state in ["succeeded", ""] {
            let kept = after(found(state, ""));
            assert_eq!((kept.level.as_str(), kept.code.as_str()), ("Error", "4"));
            assert_eq!((kept.message.as_str(), kept.at), ("no", row().at));
            assert_eq!((kept.version.as_str(), kept.unified), ("1.0", Some(true)));
        }
    }

    #[test]
    fn an_instance_view_is_never_mixed_with_that_of_the_row_or_kept_for_another_state() {
        let replaced = after(found("Succeeded", "Information"));
        assert_eq!((replaced.code.as_str(), replaced.at), ("", None));
        assert_eq!(replaced.modified, row().modified);
        let other = after(found("Updating", ""));
        assert_eq!((other.level.as_str(), other.code.as_str()), ("", ""));
    }

    #[test]
    fn the_agent_keeps_what_the_second_read_does_not_contain() {
        let mut machine = Machine {
            arc: Some(ArcAgent {
                status: "Disconnected".into(),
                status_reason: "Cloned".into(),
                extensions_enabled: "false".into(),
                block_list: vec!["p/t".into()],
                extension_service: Service::Stopped,
                ..ArcAgent::default()
            }),
            ..Machine::default()
        };
        let before = machine.clone();
        let facts = |arc| Facts {
            arc: Some(arc),
            ..Facts::default()
        };
        facts(ArcFacts::default()).apply_to(&mut machine);
        assert_eq!(machine, before);
        let connected = ArcStatus {
            status: "Connected".into(),
            ..ArcStatus::default()
        };
        facts(ArcFacts {
            status: Some(connected),
            block_list: Some(vec![]),
            ..ArcFacts::default()
        })
        .apply_to(&mut machine);
        let agent = machine.arc.unwrap();
        assert_eq!(
            (agent.status.as_str(), agent.status_reason.as_str()),
            ("Connected", "")
        );
        assert_eq!(
            (agent.block_list.len(), agent.extensions_enabled.as_str()),
            (0, "false")
        );
    }
}
