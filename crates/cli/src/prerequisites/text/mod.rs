//! A checklist: resources to create, commands that check them, and requirements of the machines.

mod aws;
mod gcp;

use serverprotection_core::security_connector::prerequisites::{Account, Prerequisites};

use super::{IdentityProvider, words};
use crate::printable;

/// The checklist.
pub(super) fn render(shown: &str, found: &Prerequisites, provider: IdentityProvider) -> String {
    let mut page = Page::default();
    page.line(&format!(
        "SecurityConnector {shown}: prerequisites of {}",
        words::place(found)
    ));
    page.line(&format!(
        "Plan {}, Entra tenant {}",
        words::plan(found.tier),
        found.tenant
    ));
    page.line("");
    for line in words::AUTHORITY {
        page.line(line);
    }
    let notes = words::notes(found);
    if !notes.is_empty() {
        page.line("");
    }
    for note in notes {
        let is_new = !note.starts_with(' ');
        page.line(&format!("{}{note}", if is_new { "* " } else { "" }));
    }
    match &found.account {
        Account::Aws(account) => aws::list(&mut page, found, account, provider),
        Account::Gcp(project) => gcp::list(&mut page, found, project),
    }
    page.0
}

/// The page as it grows.
#[derive(Default)]
struct Page(String);

/// Column of the values of details.
const MARGIN: usize = 20;

impl Page {
    fn line(&mut self, text: &str) {
        self.0.push_str(printable::one_line(text).trim_end());
        self.0.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.line("");
        self.line(title);
        self.line(&"-".repeat(title.chars().count()));
    }

    /// An item to check off.
    fn item(&mut self, text: &str) {
        self.line(&format!("[ ] {text}"));
    }

    /// A sentence about the item.
    fn note(&mut self, text: &str) {
        self.line(&format!("    {text}"));
    }

    /// A command for the item.
    fn command(&mut self, text: &str) {
        self.line(&format!("      {text}"));
    }

    /// Name and values, one per line.
    fn detail<T: AsRef<str>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        let mut name = name;
        for value in values {
            self.line(&format!(
                "    {name:width$}{}",
                value.as_ref(),
                width = MARGIN - 4
            ));
            name = "";
        }
    }
}
