//! Texts for users: what is the case, why, and what to do about it.

use std::{borrow::Cow, fmt};

use crate::printable;

/// Characters of a condition's message. The schema allows 32768; no one reads more than a few lines.
pub const MAX_MESSAGE: usize = 1024;

/// A text for a user: the problem (or the state), its cause where it is known, and one action where the user has to act.
/// One line, because its parts may come from a spec or from Azure, and it becomes a condition, an event and a log line.
///
/// ```
/// use serverprotection_core::message::Message;
///
/// let message = Message::new("The plan cannot be written").cause("ScopeLocked: a lock").action("Remove the lock");
/// assert_eq!(message.to_string(), "The plan cannot be written: ScopeLocked: a lock. Remove the lock.");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    problem: String,
    cause: Option<String>,
    action: Option<String>,
}

impl Message {
    /// What is the case, as a sentence; the period is added.
    pub fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: line(problem.into()),
            cause: None,
            action: None,
        }
    }

    /// A message that was stored in status before, as it was rendered.
    pub fn stored(text: &str) -> Self {
        Self::new(text)
    }

    /// Why, mostly in the words of Azure.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(line(cause.into()));
        self
    }

    /// Why, as another message says it; its action becomes this one's.
    #[must_use]
    pub fn caused_by(mut self, error: &Self) -> Self {
        self.cause = Some(error.sentence());
        self.action.clone_from(&error.action);
        self
    }

    /// What the user should do, in the imperative.
    #[must_use]
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(line(action.into()));
        self
    }

    /// The same with one more sentence about the problem, before the action.
    #[must_use]
    pub fn and(mut self, sentence: &str) -> Self {
        let first = self.sentence();
        self.problem = format!("{first} {}", printable::one_line(sentence));
        self.cause = None;
        self
    }

    /// Problem and cause, without the action.
    pub fn problem_text(&self) -> String {
        self.sentence()
    }

    /// In at most so many characters. The action stays whole: what is cut is what comes before it.
    pub fn to_text(&self, most: usize) -> String {
        let sentence = self.sentence();
        let Some(action) = self.action.as_deref() else {
            return shortened(&sentence, most);
        };
        let action = ended(action);
        let left = most.saturating_sub(action.chars().count() + 1);
        shortened(&format!("{} {action}", shortened(&sentence, left)), most)
    }

    /// In at most so many bytes, which is what the API server counts for events. The action stays whole, as in
    /// [`Message::to_text`].
    pub fn to_bytes(&self, most: usize) -> String {
        let mut characters = most;
        loop {
            let text = self.to_text(characters);
            let excess = text.len().saturating_sub(most);
            if excess == 0 || characters == 0 {
                return text;
            }
            // A character has at most four bytes, so that this never removes too many.
            characters = text.chars().count().saturating_sub(excess.div_ceil(4));
        }
    }

    fn sentence(&self) -> String {
        match &self.cause {
            Some(cause) => ended(&format!("{}: {cause}", self.problem)),
            None => ended(&self.problem),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(usize::MAX))
    }
}

fn line(text: String) -> String {
    let clean = match printable::one_line(&text) {
        Cow::Borrowed(_) => None,
        Cow::Owned(clean) => Some(clean),
    };
    clean.unwrap_or(text)
}

/// A part of a number of things, with its verb: `1 of 2 machines is`.
pub(crate) fn share<N: Copy + PartialEq + From<u8> + fmt::Display>(part: N, whole: N, noun: &str) -> String {
    let one = N::from(1);
    let plural = if whole == one { "" } else { "s" };
    let verb = if part == one || whole == one { "is" } else { "are" };
    format!("{part} of {whole} {noun}{plural} {verb}")
}

/// With a period, unless something ends it already.
fn ended(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?', '…']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sentences_end_once() {
        let message = Message::new("It failed")
            .cause("AuthorizationFailed: You may not.")
            .action("Grant Reader");
        assert_eq!(
            message.to_string(),
            "It failed: AuthorizationFailed: You may not. Grant Reader."
        );
        assert_eq!(
            Message::stored(&message.to_string()).to_string(),
            message.to_string()
        );
        assert_eq!(
            message.and("It is retried.").to_string(),
            "It failed: AuthorizationFailed: You may not. It is retried. Grant Reader."
        );
    }

    #[test]
    fn one_thing_is_singular() {
        let shares = [(0_u64, 1), (1, 1), (0, 2), (1, 2), (2, 2)];
        assert_eq!(
            shares.map(|(part, whole)| share(part, whole, "machine")),
            [
                "0 of 1 machine is",
                "1 of 1 machine is",
                "0 of 2 machines are",
                "1 of 2 machines is",
                "2 of 2 machines are"
            ]
        );
    }

    #[test]
    fn a_message_is_one_line_that_controls_nothing() {
        let message = Message::new("tags.owner: none -> a\nINFO approved")
            .cause("b\u{1b}[2J")
            .action("Set c\u{202e}d");
        assert_eq!(
            message.to_string(),
            "tags.owner: none -> a INFO approved: b [2J. Set c d."
        );
        let stored = Message::stored("a\r\nb");
        assert_eq!(stored.and("c\nd").to_string(), "a  b. c d.");
    }

    proptest! {
        #[test]
        fn a_long_cause_never_takes_the_action_of_an_event(cause in any::<String>(), times in 1_usize..60, action in "[a-z ]{1,80}[a-z]") {
            let message = Message::new("It failed").cause(cause.repeat(times)).action(action.clone());
            let text = message.to_bytes(1000);
            prop_assert!(text.len() <= 1000);
            prop_assert!(text.ends_with(&format!("{action}.")), "{text}");
            prop_assert!(!text.contains(printable::is_unsafe), "{text:?}");
            // Not much shorter than it could be.
            let whole = message.to_string();
            prop_assert!(text.len() + 16 >= whole.len().min(1000), "{}", text.len());
        }

        #[test]
        fn a_long_cause_never_takes_the_action(cause in "\\PC{0,2000}", action in "[a-z ]{1,80}[a-z]") {
            let message = Message::new("It failed").cause(cause).action(action.clone());
            let text = message.to_text(200);
            prop_assert!(text.chars().count() <= 200);
            prop_assert!(text.ends_with(&format!("{action}.")), "{text}");
        }
    }
}
