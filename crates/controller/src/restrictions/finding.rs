//! What an answer of the API server proves about a policy.

/// How the API server answered a request that it must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A policy refused it.
    RefusedByPolicy,
    /// The process lacks the right altogether.
    Refused,
    /// It was granted.
    Granted,
    /// The process is no service account, so no policy restricts it. Waiting for one is of no use.
    GrantedToUser,
    /// It was granted for some objects, and refused by a policy for others.
    GrantedInPart,
    /// It was neither refused nor granted, for example because the API server did not answer.
    Unknown,
}

impl Finding {
    pub(super) fn of<T>(answer: &Result<T, kube::Error>) -> Self {
        match answer {
            Ok(_) => Self::Granted,
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
                if status.message.contains("ValidatingAdmissionPolicy") {
                    Self::RefusedByPolicy
                } else if status.code == 403 {
                    Self::Refused
                } else {
                    // The object is invalid, whatever the policies say.
                    Self::Unknown
                }
            }
            Err(_) => Self::Unknown,
        }
    }

    /// What the findings of several objects prove together; `None` without any.
    pub(super) fn of_all(findings: &[Self]) -> Option<Self> {
        let has = |finding| findings.contains(&finding);
        if has(Self::Granted) && has(Self::RefusedByPolicy) {
            return Some(Self::GrantedInPart);
        }
        let strongest = [Self::Granted, Self::RefusedByPolicy, Self::Refused, Self::Unknown];
        strongest.into_iter().find(|finding| has(*finding))
    }
}
