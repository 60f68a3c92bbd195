//! Input that tries to become a command: refused by admission, and harmless even without admission.

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::printable;

/// A namespace that would run a command if it left its comment.
const INJECTED: &str = "team\ntouch /tmp/pwned\n#";

/// Every format, with a connector that it fits.
fn every_format() -> [(&'static str, Value); 5] {
    [
        ("text", aws_organization()),
        ("cloudformation", aws()),
        ("terraform", aws_organization()),
        ("terraform", gcp()),
        ("gcloud", gcp()),
    ]
}

/// A format with a connector that passed admission, and the output for a plain name.
struct Sample {
    format: &'static str,
    args: Args,
    selected: Selected,
    plain: String,
}

impl Sample {
    fn all() -> Vec<Self> {
        let all = every_format().into_iter();
        all.map(|(format, connector)| Self::of(format, &connector))
            .collect()
    }

    fn of(format: &'static str, connector: &Value) -> Self {
        let words = ["prerequisites", "-f", "x.yaml", "--output", format];
        let args = Command::try_parse_from(words).unwrap().args;
        let [protection, credential] = related();
        let texts =
            [protection, connector.clone(), credential].map(|object| Text::new("x.yaml", object.to_string()));
        let mut selected = Input::parse(&texts).unwrap().selected(&args).unwrap().remove(0);
        selected.shown = "team/prod".to_owned();
        let plain = render(&args, &selected).unwrap();
        Self {
            format,
            args,
            selected,
            plain,
        }
    }

    /// The output for a name that admission would refuse.
    fn called(&self, shown: &str) -> String {
        let selected = Selected {
            shown: shown.to_owned(),
            name: self.selected.name.clone(),
            spec: self.selected.spec.clone(),
            protection: self.selected.protection.clone(),
            tenant: self.selected.tenant.clone(),
        };
        render(&self.args, &selected).unwrap()
    }
}

/// Lines as the strictest parser splits them.
fn split(text: &str) -> Vec<&str> {
    text.split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'])
        .collect()
}

/// Checks that the output has the same lines for any name; only lines that contain the name may differ.
fn assert_same_lines(sample: &Sample, shown: &str) {
    let hostile = sample.called(shown);
    let Sample { format, plain, .. } = sample;
    let format = *format;
    // More lines of the name make more lines of the comment.
    let added = if format == "text" {
        0
    } else {
        printable::lines(shown).len() - 1
    };
    assert_eq!(split(&hostile).len(), split(plain).len() + added, "{hostile}");
    let named = |line: &&str| line.contains("team/prod");
    let mut expected = split(plain).into_iter().filter(|line| !named(line));
    let mut next = expected.next();
    for line in split(&hostile) {
        if next == Some(line) {
            next = expected.next();
            continue;
        }
        let is_comment = line == "#" || line.starts_with("# ");
        let is_name = line.starts_with("SecurityConnector ") && format == "text";
        let is_description = line.starts_with("Description: ") && format == "cloudformation";
        assert!(is_comment || is_name || is_description, "{format}: {line:?}");
    }
    assert_eq!(next, None, "{format}");
    assert!(
        !hostile.contains(|c: char| c.is_control() && c != '\n'),
        "{hostile:?}"
    );
    assert!(!hostile.contains('\u{202e}'), "{hostile:?}");
    if format == "cloudformation" {
        let parsed = template(&hostile);
        let keys: Vec<_> = parsed.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["AWSTemplateFormatVersion", "Description", "Resources"]);
    }
}

#[test]
fn a_namespace_with_a_line_break_is_refused_in_every_format() {
    for (format, connector) in every_format() {
        let [protection, credential] = related();
        let mut objects = [protection, credential, connector];
        for object in &mut objects {
            object["metadata"]["namespace"] = json!(INJECTED);
        }
        for object in &objects {
            let only = [object.clone()];
            let error = refused(&only, &format!("--output {format}")).to_string();
            assert!(error.contains("metadata.namespace: \"team\\ntouch"), "{error}");
            assert!(error.lines().all(|line| !line.starts_with("touch")), "{error}");
        }
    }
}

#[test]
fn a_name_that_admission_missed_stays_in_its_comment() {
    for sample in &Sample::all() {
        for end in [
            "\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{85}", "\u{2028}", "\u{2029}",
        ] {
            assert_same_lines(sample, &format!("team{end}touch /tmp/pwned{end}#"));
        }
        assert_same_lines(
            sample,
            "team\nTransform: 'arn:aws:cloudformation::1:transform/Evil'\n",
        );
        assert_same_lines(sample, "team\u{1b}[2J\u{9b}1m\u{202e}/prod");
    }
}

#[test]
fn no_name_changes_more_than_its_comment() {
    let samples = Sample::all();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
    // The marker of the lines that may differ.
    let names = printable::tests::hostile().prop_filter("marked", |shown| !shown.contains("team/prod"));
    let result = runner.run(&names, |shown| {
        for sample in &samples {
            assert_same_lines(sample, &shown);
        }
        Ok(())
    });
    result.unwrap();
}

/// The paths of all texts in a value.
fn texts_in(value: &Value, path: &str, paths: &mut Vec<String>) {
    match value {
        Value::String(_) => paths.push(path.to_owned()),
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                texts_in(item, &format!("{path}/{number}"), paths);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                texts_in(member, &format!("{path}/{name}"), paths);
            }
        }
        _ => {}
    }
}

/// Connectors that set every text field.
fn full() -> [Value; 2] {
    let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    let account = |name: &str| format!("{name}@my-project.iam.gserviceaccount.com");
    let aws = json!({
        "type": "AWS", "connectorName": "in-azure", "scanInterval": "4h", "plan": {"tier": "P2"},
        "agentlessScanning": {"state": "Enabled"}, "autoProvisioning": {"arcAgent": {"state": "Enabled"}},
        "aws": {
            "accountId": "123456789012", "regions": ["eu-central-1"],
            "organization": {"stackSetName": "defender", "excludedAccountIds": ["210987654321"]},
            "roleArns": {"cspm": role("a"), "servers": role("b"), "arcProvisioning": role("c"), "agentlessScanner": role("d")}
        }
    });
    let gcp = json!({
        "type": "GCP", "plan": {"tier": "P2"}, "agentlessScanning": {"state": "Enabled"},
        "gcp": {
            "projectNumber": "843025268399", "projectId": "my-project",
            "organization": {
                "serviceAccount": account("mdc-org"), "workloadIdentityProvider": "auto-provisioner",
                "excludedProjectNumbers": ["843025268400"]
            },
            "serviceAccounts": {"cspm": account("defender-cspm"), "servers": account("defender-servers")},
            "workloadIdentityProviders": {"cspm": "cspm-provider", "servers": "servers-provider"}
        }
    });
    [connector("full", &aws), connector("full", &gcp)]
}

#[test]
fn no_text_of_the_input_may_hold_a_line_break_or_a_control() {
    let [protection, credential] = related();
    for connector in full() {
        let objects = [protection.clone(), connector.clone(), credential.clone()];
        printed(&objects, "").unwrap();
        let mut paths = Vec::new();
        texts_in(&connector, "", &mut paths);
        // The version is neither read nor printed.
        paths.retain(|path| path != "/apiVersion");
        assert!(paths.len() > 14, "{paths:?}");
        for path in paths {
            for hostile in [
                "\ntouch /tmp/pwned",
                "\n",
                "\r",
                "\u{1b}[2J",
                "\u{2028}x",
                "\u{202e}",
                "'$(touch x)`",
            ] {
                let mut connector = connector.clone();
                let text = connector.pointer_mut(&path).unwrap();
                *text = json!(text.as_str().unwrap().to_owned() + hostile);
                let objects = [protection.clone(), connector, credential.clone()];
                let result = printed(&objects, "");
                assert!(
                    result.is_err(),
                    "{path} with {hostile:?} was taken:\n{}",
                    result.unwrap()
                );
            }
        }
    }
}
