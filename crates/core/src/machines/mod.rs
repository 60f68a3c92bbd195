//! Fleet verification: whether the extension `MDE.Windows` / `MDE.Linux` is healthy on every machine, and if not, why
//! (design.md section 5).

pub mod exclusions;
pub mod findings;
pub mod machine;
pub mod summary;
pub mod verdict;

pub use exclusions::Exclusions;
pub use findings::{Circumstances, Finding, HealthIssue, finding};
pub use machine::{ArcAgent, Environment, Image, Kind, Machine, MdeExtension};
pub use summary::{Summary, Tally};
pub use verdict::Verdict;
