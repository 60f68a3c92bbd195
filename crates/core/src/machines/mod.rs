//! Fleet verification: whether the extension `MDE.Windows` / `MDE.Linux` is healthy on every machine, and if not, why
//! (docs/architecture.md 8).
//!
//! ```text
//! Machine (a row of Resource Graph, or a direct GET) ─┐
//! Circumstances (grace, exclusions, stray plans,      ├─ RULES ─▶ Finding ─▶ Summary ─▶ status
//!   health reports)                                 ──┘
//! ```

pub mod account;
pub mod exclusions;
pub mod failures;
pub mod findings;
pub mod machine;
pub mod migration;
pub mod operating_systems;
pub mod reading;
mod rules;
pub mod summary;
pub mod verdict;

pub use account::{Account, Accounts, MachineCounts};
pub use exclusions::Exclusions;
pub use findings::{Finding, HealthIssue, RuleContext, finding};
pub use machine::{ArcAgent, Environment, Image, Kind, Listing, Machine, MdeExtension, Service};
pub use migration::{Migration, Stage};
pub use rules::{RULES, Rule};
pub use summary::{Summary, Tally};
pub use verdict::Verdict;
