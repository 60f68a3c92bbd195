//! Under construction.

use super::{Report, Scanner, Sink, Target};

#[allow(clippy::unused_async)]
pub(super) async fn scan(scanner: &Scanner, targets: &[Target], sink: &dyn Sink) -> Report {
    for target in targets {
        let failure = crate::resource_graph::failure("NotBuilt", "the fleet scan is not built yet", "scan");
        sink.subscription(&target.subscription, Err(failure));
    }
    Report {
        quota_left: scanner.quota_left(),
        ..Report::default()
    }
}
