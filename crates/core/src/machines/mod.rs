//! Fleet verification: whether the extension `MDE.Windows` or `MDE.Linux` works on every machine, and if not, why not
//! (docs/architecture.md 8).
//!
//! ```text
//! Machine (a row of Resource Graph, or a direct GET) ─┐
//! RuleContext (grace period, exclusions, plans of     ├─ RULES ─▶ Finding ─▶ Summary ─▶ status
//!   machines, health reports)                       ──┘
//! ```

pub mod account;
mod architecture;
mod billing;
pub mod exclusions;
pub mod failures;
pub mod findings;
pub mod machine;
pub mod migration;
pub mod operating_systems;
pub mod reading;
mod rules;
mod subject;
pub mod summary;
pub mod verdict;

pub use account::{Account, Accounts, MachineCounts};
pub use architecture::Architecture;
pub use billing::Billing;
pub use exclusions::Exclusions;
pub use findings::{Finding, HealthIssue, PlanOff, RuleContext, finding};
pub use machine::{ArcAgent, Environment, Image, Kind, Listing, Machine, MdeExtension, Service};
pub use migration::{Migration, Stage};
pub use rules::{RULES, Rule};
pub use summary::{Summary, Tally};
pub use verdict::Verdict;
