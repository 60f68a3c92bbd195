//! Which subscriptions are read, and by which identity.

use std::collections::{BTreeMap, HashMap};

use serverprotection_azure::Identity;

use super::{
    args::Args,
    identity::{Auth, Origin},
    input::{Input, Key, Protection},
};
use crate::{cluster::CLUSTER_CREDENTIAL, error::CliError, printable};

/// The subscriptions that one identity reads.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) origin: Origin,
    pub(crate) identity: Identity,
    /// Subscriptions of objects.
    pub(crate) protections: Vec<Protection>,
    /// Subscriptions of flags.
    pub(crate) subscriptions: Vec<String>,
    pub(crate) management_groups: Vec<String>,
    /// All subscriptions that the identity can see.
    pub(crate) all: bool,
}

impl Scope {
    fn new(origin: Origin, identity: Identity) -> Self {
        Self {
            origin,
            identity,
            protections: Vec::new(),
            subscriptions: Vec::new(),
            management_groups: Vec::new(),
            all: false,
        }
    }
}

/// The scopes of flags and input, and notes about unexpected choices. `is_set` reports whether an environment variable has
/// a value.
///
/// # Errors
///
/// Fails if the input selects nothing, or if the identity of the flags lacks environment variables.
pub(crate) fn scopes(
    args: &Args,
    input: Input,
    is_set: impl Fn(&str) -> bool,
) -> Result<(Vec<Scope>, Vec<String>), CliError> {
    let Input {
        protections,
        credentials,
        mut notes,
    } = input;
    let no_scope_flags = args.subscriptions.is_empty() && args.management_groups.is_empty();
    if !args.files.is_empty() && protections.is_empty() && credentials.is_empty() && no_scope_flags {
        return Err(CliError::new("-f: the input has no ServerProtection").action(
            "add ServerProtection objects to the input, or omit -f to read all subscriptions that the identity can see",
        ));
    }
    let auth = args.auth.or(args.tenant_id.as_ref().map(|_| Auth::AzureCli));
    let default = auth.unwrap_or(Auth::AzureCli);
    let by_flags = || {
        let identity = default.identity(args.tenant_id.clone(), &is_set);
        identity.map(|identity| (Origin::Auth(default), identity))
    };
    let all = no_scope_flags && protections.is_empty();

    let mut by_key: BTreeMap<Option<Key>, Vec<Protection>> = BTreeMap::new();
    let mut unusable: HashMap<Key, String> = HashMap::new();
    for protection in protections {
        let key = protection.credential.clone().filter(|_| auth.is_none());
        let key = key.filter(|key| match credentials.get(key) {
            Some(Ok(_)) => true,
            other => {
                let missing = match key.0.as_str() {
                    CLUSTER_CREDENTIAL => "it works only in the cluster",
                    _ => "it is not in the input",
                };
                let why = other.map_or(missing, |other| other.as_ref().err().map_or("", String::as_str));
                unusable.insert(key.clone(), why.to_owned());
                false
            }
        });
        by_key.entry(key).or_default().push(protection);
    }
    for (key, why) in unusable {
        let credential = match key.0.as_str() {
            CLUSTER_CREDENTIAL => format!("{CLUSTER_CREDENTIAL} {}", key.1),
            _ => format!("AzureCredential {}", name(&key)),
        };
        notes.push(format!(
            "{credential} is not usable here: {why}; using the login of the Azure CLI instead (--auth selects another identity)"
        ));
    }

    let mut scopes = Vec::new();
    for (key, protections) in by_key {
        let (origin, identity) = match key.as_ref().and_then(|key| Some((key, credentials.get(key)?))) {
            Some((key, Ok(identity))) => (Origin::Credential(name(key)), identity.clone()),
            _ => by_flags()?,
        };
        let mut scope = Scope::new(origin, identity);
        scope.protections = protections;
        scopes.push(scope);
    }
    if !no_scope_flags || all {
        // A single credential in the input also applies to the subscriptions that flags select.
        let mut usable = credentials
            .iter()
            .filter_map(|(key, identity)| Some((key, identity.as_ref().ok()?)));
        let single = usable
            .next()
            .filter(|_| usable.next().is_none() && auth.is_none());
        let (origin, identity) = match single {
            Some((key, identity)) => (Origin::Credential(name(key)), identity.clone()),
            None => by_flags()?,
        };
        let at = scopes.iter().position(|scope| scope.origin == origin);
        let mut scope = match at {
            Some(at) => scopes.remove(at),
            None => Scope::new(origin, identity),
        };
        scope.subscriptions.clone_from(&args.subscriptions);
        scope.management_groups.clone_from(&args.management_groups);
        scope.all = all;
        scopes.push(scope);
    }
    Ok((scopes, notes))
}

/// NAMESPACE/NAME or NAME, safe to print.
fn name((namespace, name): &Key) -> String {
    let whole = if namespace.is_empty() {
        name.clone()
    } else {
        format!("{namespace}/{name}")
    };
    printable::one_line(&whole).into_owned()
}

#[cfg(test)]
mod tests {
    use azure_core::credentials::Secret;
    use clap::Parser;
    use serverprotection_api::Machines;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &str) -> Args {
        Command::parse_from(std::iter::once("machines").chain(words.split_whitespace())).args
    }

    fn key(name: &str) -> Key {
        ("team".into(), name.into())
    }

    fn input(protections: &[Option<&str>], credentials: &[(&str, bool)]) -> Input {
        Input {
            protections: protections
                .iter()
                .enumerate()
                .map(|(number, credential)| Protection {
                    subscription: number.to_string(),
                    machines: Machines::default(),
                    credential: credential.map(key),
                })
                .collect(),
            credentials: credentials
                .iter()
                .map(|(name, usable)| {
                    let identity = Identity::ClientSecret {
                        tenant_id: "t".into(),
                        client_id: "c".into(),
                        secret: Secret::new("s"),
                    };
                    let identity = usable.then_some(identity).ok_or("no Secret".to_owned());
                    (key(name), identity)
                })
                .collect(),
            notes: Vec::new(),
        }
    }

    /// Origin, objects, subscriptions and whether all are read.
    type Outcome = (String, usize, usize, bool);

    fn outcomes(words: &str, input: Input) -> (Vec<Outcome>, usize) {
        let (scopes, notes) = scopes(&args(words), input, |_| true).unwrap();
        let scopes = scopes.into_iter().map(|scope| {
            let origin = match scope.origin {
                Origin::Auth(auth) => format!("{auth:?}"),
                Origin::Credential(name) => name,
            };
            (
                origin,
                scope.protections.len(),
                scope.subscriptions.len(),
                scope.all,
            )
        });
        (scopes.collect(), notes.len())
    }

    fn scope(origin: &str, objects: usize, subscriptions: usize, all: bool) -> Outcome {
        (origin.to_owned(), objects, subscriptions, all)
    }

    #[test]
    fn every_subscription_is_read_with_its_credential() {
        let id = "6f1c0d7e-0000-0000-0000-000000000001";
        let flag = format!("--subscription {id}");
        let with_file = format!("-f x {flag}");
        for (words, input, expected, notes) in [
            ("", Input::default(), vec![scope("AzureCli", 0, 0, true)], 0),
            (&flag, Input::default(), vec![scope("AzureCli", 0, 1, false)], 0),
            (
                "-f x",
                input(&[None], &[]),
                vec![scope("AzureCli", 1, 0, false)],
                0,
            ),
            (
                "-f x",
                input(&[Some("a"), Some("b"), None], &[("a", true), ("b", true)]),
                vec![
                    scope("AzureCli", 1, 0, false),
                    scope("team/a", 1, 0, false),
                    scope("team/b", 1, 0, false),
                ],
                0,
            ),
            // Credentials that are not usable here: the Azure CLI, with a note for each.
            (
                "-f x",
                input(&[Some("a"), Some("a"), Some("c")], &[("a", false)]),
                vec![scope("AzureCli", 3, 0, false)],
                2,
            ),
            // --auth overrides every credential.
            (
                "-f x --auth environment",
                input(&[Some("a"), None], &[("a", true)]),
                vec![scope("Environment", 2, 0, false)],
                0,
            ),
            // The only credential also applies to the flags.
            (
                &with_file,
                input(&[], &[("a", true)]),
                vec![scope("team/a", 0, 1, false)],
                0,
            ),
            (
                &with_file,
                input(&[Some("a")], &[("a", true)]),
                vec![scope("team/a", 1, 1, false)],
                0,
            ),
            (
                "-f x",
                input(&[], &[("a", true)]),
                vec![scope("team/a", 0, 0, true)],
                0,
            ),
        ] {
            assert_eq!(outcomes(words, input), (expected, notes), "{words}");
        }
    }

    #[test]
    fn an_input_without_anything_to_read_is_an_error() {
        let error = scopes(&args("-f x"), Input::default(), |_| true).unwrap_err();
        assert!(error.problem.contains("ServerProtection"), "{error}");
        assert!(error.action.is_some(), "{error}");
        let error = scopes(&args("--auth environment"), Input::default(), |_| false).unwrap_err();
        assert!(error.to_string().contains("AZURE_CLIENT_SECRET"), "{error}");
    }
}
