//! Errors of the commands: problem, cause and action.

use std::fmt;

/// Why a command failed. The parts are separate, so that a test need not compare whole sentences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CliError {
    /// What is wrong, with the flag, object or field in question.
    pub(crate) problem: String,
    /// Why, often in the words of Azure or of the operating system.
    pub(crate) cause: Option<String>,
    /// What the user should do; begins with a verb.
    pub(crate) action: Option<String>,
}

impl CliError {
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            cause: None,
            action: None,
        }
    }

    /// Several errors as one, each on lines of its own.
    pub(crate) fn all(mut errors: Vec<Self>) -> Self {
        if errors.len() == 1 {
            return errors.remove(0);
        }
        let texts: Vec<_> = errors.iter().map(Self::to_string).collect();
        Self::new(texts.join("\n"))
    }

    /// The error with its cause.
    pub(crate) fn because(self, cause: impl fmt::Display) -> Self {
        Self {
            cause: Some(cause.to_string()),
            ..self
        }
    }

    /// The error with the next step for the user.
    pub(crate) fn action(self, action: impl Into<String>) -> Self {
        Self {
            action: Some(action.into()),
            ..self
        }
    }

    /// The error with the place in the input at the front.
    pub(crate) fn at(self, place: impl fmt::Display) -> Self {
        Self {
            problem: format!("{place}: {}", self.problem),
            ..self
        }
    }
}

/// `problem: cause`, and the action on a line of its own.
impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        match &self.action {
            Some(action) => write!(f, "\n  {action}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}

impl From<String> for CliError {
    fn from(problem: String) -> Self {
        Self::new(problem)
    }
}

impl From<&str> for CliError {
    fn from(problem: &str) -> Self {
        Self::new(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_problem_cause_and_action() {
        let error = CliError::new("cannot read it");
        assert_eq!(error.to_string(), "cannot read it");
        let error = error
            .because("permission denied")
            .action("run chmod")
            .at("-f a.yaml");
        assert_eq!(
            error.to_string(),
            "-f a.yaml: cannot read it: permission denied\n  run chmod"
        );
    }
}
