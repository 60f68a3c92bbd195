//! The order in which processes of one caller wrote under a lock: two replicas of a controller share an identity.

use std::collections::{HashMap, HashSet};

/// A write of a process after another process has written under the same lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It equals the first write of the other process.
    Identical,
    /// It differs from it.
    Different,
}

/// The processes that wrote, by caller and lock.
#[derive(Debug, Default)]
pub(super) struct Processes {
    by_lock: HashMap<(String, String), Order>,
}

#[derive(Debug)]
struct Order {
    current: String,
    /// The first write of the current process.
    first: String,
    former: HashSet<String>,
}

impl Processes {
    /// A write of a process arrives.
    pub(super) fn write(
        &mut self,
        principal: &str,
        lock: &str,
        process: &str,
        content: &str,
    ) -> Option<Late> {
        let key = (principal.to_owned(), lock.to_owned());
        let Some(order) = self.by_lock.get_mut(&key) else {
            let first = Order {
                current: process.into(),
                first: content.into(),
                former: HashSet::new(),
            };
            self.by_lock.insert(key, first);
            return None;
        };
        if order.current == process {
            return None;
        }
        if order.former.contains(process) {
            return Some(if order.first == content {
                Late::Identical
            } else {
                Late::Different
            });
        }
        order
            .former
            .insert(std::mem::replace(&mut order.current, process.into()));
        order.first = content.into();
        None
    }
}

/// The process of a controller, which names it in its User-Agent: `serverprotection/1.2.3 (process)`.
pub(crate) fn of_user_agent(user_agent: &str) -> Option<&str> {
    let rest = user_agent.strip_prefix("serverprotection/")?;
    rest.split_once(" (")?.1.strip_suffix(')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_former_once_another_one_has_written() {
        let mut processes = Processes::default();
        let mut write = |process, content| processes.write("client", "lock", process, content);
        assert_eq!(write("a", "1"), None);
        assert_eq!(write("a", "2"), None);
        assert_eq!(write("b", "3"), None);
        assert_eq!(write("a", "3"), Some(Late::Identical));
        assert_eq!(write("a", "2"), Some(Late::Different));
        assert_eq!(write("b", "4"), None);
        assert_eq!(write("a", "4"), Some(Late::Different), "not its first write");
        assert_eq!(write("c", "5"), None);
        assert_eq!(write("b", "6"), Some(Late::Different));
        assert_eq!(processes.write("client", "other", "a", "1"), None);
        assert_eq!(processes.write("another", "lock", "a", "1"), None);
    }

    #[test]
    fn only_controllers_name_their_process() {
        assert_eq!(of_user_agent("serverprotection/0.1.0 (abc)"), Some("abc"));
        assert_eq!(of_user_agent("serverprotection/0.1.0"), None);
        assert_eq!(of_user_agent("azsdk-python-core/1 Python/3.9 (Linux)"), None);
    }
}
