//! Errors of kubeconfig files, in one sentence that names the file.

use std::{env, error::Error};

use kube::config::{Config, KubeconfigError};

use crate::kube_error;

/// The files that `KUBECONFIG` names, or else the one in the home folder.
pub fn files() -> String {
    let named = env::var("KUBECONFIG").unwrap_or_default();
    if named.is_empty() {
        "~/.kube/config".to_owned()
    } else {
        named
    }
}

/// What is wrong with the files, which an error of `kube` does not always name. Quotes nothing of their content, which may
/// be secret.
pub fn described(error: &(dyn Error + 'static), files: &str) -> String {
    let mut cause = Some(error);
    let of_file = std::iter::from_fn(|| {
        let current = cause?;
        cause = current.source();
        Some(current)
    });
    let mut of_file = of_file.filter_map(|error| error.downcast_ref::<KubeconfigError>());
    match of_file.next() {
        Some(KubeconfigError::ReadConfig(error, path)) => {
            format!("cannot read the kubeconfig {}: {error}", path.display())
        }
        Some(KubeconfigError::Parse(error)) => match error.location() {
            Some(location) => format!("the kubeconfig {files} is not valid: line {}", location.line()),
            None => format!("the kubeconfig {files} is not valid"),
        },
        Some(KubeconfigError::CurrentContextNotSet) => {
            format!("the kubeconfig {files} has no current context")
        }
        Some(KubeconfigError::LoadContext(name)) => format!("the kubeconfig {files} has no context {name}"),
        Some(KubeconfigError::LoadClusterOfContext(name)) => {
            format!("the kubeconfig {files} has no cluster {name}, which its context names")
        }
        Some(KubeconfigError::FindPath) => "KUBECONFIG is not set, and there is no home folder".to_owned(),
        _ => format!(
            "the kubeconfig {files} cannot be used: {}",
            kube_error::described(error)
        ),
    }
}

/// Why no cluster was found in any place where `kube` looks for it.
pub fn not_found(error: &(dyn Error + 'static)) -> String {
    let in_pod = env::var_os("KUBERNETES_SERVICE_HOST").is_some() && env::var_os("KUBECONFIG").is_none();
    match Config::incluster() {
        Err(error) if in_pod => format!(
            "the service account of the pod cannot be used: {}",
            kube_error::described(&error)
        ),
        _ => described(error, &files()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kube::config::Kubeconfig;

    use super::*;

    #[test]
    fn the_file_is_named_and_its_content_is_not() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = KubeconfigError::ReadConfig(missing, PathBuf::from("/nope"));
        assert!(described(&error, "x").starts_with("cannot read the kubeconfig /nope: "));
        let error = Kubeconfig::from_yaml("users: [{token: hunter2").unwrap_err();
        let text = described(&error, "/broken");
        assert!(
            text.contains("/broken is not valid") && !text.contains("hunter2"),
            "{text}"
        );
        for error in [
            KubeconfigError::CurrentContextNotSet,
            KubeconfigError::LoadContext("dev".into()),
            KubeconfigError::LoadClusterOfContext("dev".into()),
            KubeconfigError::MissingClusterUrl,
        ] {
            let text = described(&error, "/x");
            assert!(text.starts_with("the kubeconfig /x "), "{text}");
        }
    }
}
