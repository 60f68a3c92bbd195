//! The rows about connectors.

use crate::{
    connectors::Figures,
    reconciles::Reconciles,
    report,
    table::{Rows, count, megabytes, milliseconds, milliseconds_each, ratio, seconds},
};
use serde_json::Value;

/// Connectors in one page of Azure's list.
const PAGE: usize = 100;
/// Minimum interval between two lists.
const LIST_SECONDS: f64 = 30.0;
/// Minimum interval between two status refreshes caused by connectors.
const REFRESH_SECONDS: f64 = 5.0;
/// Factor above the floor, for the reads before and after the writes.
const FLOOR_FACTOR: f64 = 1.25;
/// Reads of connectors that Azure allows a caller in a subscription in 5 minutes (docs/azure-api.md 4.7).
const BUDGET: u64 = 100;
const BUDGET_MINUTES: u64 = 5;

impl report::Figures for Figures {
    const PART: &'static str = "connectors";

    fn column(&self) -> String {
        self.connectors.to_string()
    }

    fn breaches(&self) -> &[Value] {
        &self.breaches
    }

    fn rows(rows: &mut Rows<'_, Self>) {
        rows.section = "COUNTS until all are Ready";
        judged(rows);
        requests(rows);
        rows.section = "COUNTS after a restart of the controller, one reconcile each";
        restarted(rows);
        rows.section = "COUNTS of quiet reconciles";
        quiet(rows);
        rows.section = "TIME";
        times(rows);
        rows.section = "PROCESSOR";
        processor(rows);
        rows.section = "MEMORY of the controller (MB = 1,000,000 bytes)";
        memory(rows);
    }
}

fn judged(rows: &mut Rows<'_, Figures>) {
    rows.count(
        "PUTs per connector",
        "exactly 1",
        |f| per_connector(f.until_ready.puts(), f),
        |f| f.until_ready.puts() == count(f.connectors),
    );
    rows.zero("connectors not written exactly once", |f| {
        count(f.until_ready.not_once(f.connectors))
    });
    rows.count(
        "PUTs of the resource group",
        "1",
        |f| f.until_ready.all.count("PUT resourceGroup").to_string(),
        |f| f.until_ready.all.count("PUT resourceGroup") == u64::from(f.connectors > 0),
    );
    rows.count(
        "requests for the list of connectors",
        "1 list in 30 s",
        |f| f.until_ready.lists().to_string(),
        |f| ratio(f.until_ready.lists(), 1) <= most_lists(f),
    );
    rows.count(
        "status versions of the ServerProtection",
        "1 in 5 s",
        |f| f.protection.unasked.to_string(),
        |f| ratio(f.protection.unasked, 1) <= most_refreshes(f),
    );
    rows.zero("objects that stopped being Ready (both kinds)", |f| f.lost);
    rows.breaches(|f| &f.breaches);
}

fn requests(rows: &mut Rows<'_, Figures>) {
    rows.plain("requests per connector", |f| {
        per_connector(f.until_ready.ours.total, f)
    });
    rows.plain("reads in Azure's budget for connectors", |f| {
        f.until_ready.budget().to_string()
    });
    rows.plain("  minimum time with this budget (100 in 5 min)", |f| {
        let waits = f.until_ready.budget().saturating_sub(1) / BUDGET;
        format!("{} min", waits * BUDGET_MINUTES)
    });
    rows.plain("responses 429", |f| f.until_ready.all.refused().to_string());
    rows.plain("responses other than 2xx, 404 and 429", |f| {
        f.until_ready.all.failed().to_string()
    });
    rows.operations(|f| &f.until_ready.all);
    rows.plain("status versions per connector", |f| per_connector(f.versions, f));
    rows.plain("Kubernetes: status writes of connectors", |f| {
        f.served.status_writes("securityconnectors").to_string()
    });
    rows.plain("Kubernetes: status writes of the ServerProtection", |f| {
        f.served.status_writes("serverprotections").to_string()
    });
    rows.plain("Kubernetes: events", |f| f.served.events().to_string());
    // The benchmark itself reads the ServerProtection.
    rows.plain("Kubernetes: GETs of connectors", |f| {
        f.served.gets_of("securityconnectors").to_string()
    });
}

fn restarted(rows: &mut Rows<'_, Figures>) {
    rows.zero("writes", |f| f.restart.reconciles.ours.writes);
    rows.count(
        "status writes",
        "0",
        |f| f.restart.phase.status_writes.to_string(),
        |f| f.restart.phase.status_writes == 0 && f.restart.versions == 0,
    );
    rows.plain("reads per reconcile", |f| per_reconcile(&f.restart.reconciles));
    rows.plain("requests for the list of connectors", |f| {
        f.restart.reconciles.lists().to_string()
    });
}

fn quiet(rows: &mut Rows<'_, Figures>) {
    rows.plain("reconciles", |f| f.quiet.reconciles.readings().to_string());
    rows.zero("writes", |f| f.quiet.reconciles.ours.writes);
    rows.count(
        "status writes",
        "0",
        |f| f.quiet.phase.status_writes.to_string(),
        |f| f.quiet.phase.status_writes == 0 && f.quiet.versions == 0,
    );
    rows.count(
        "reads per reconcile",
        "<= 1.5",
        |f| per_reconcile(&f.quiet.reconciles),
        |f| 2 * f.quiet.reconciles.ours.reads() <= 3 * f.quiet.reconciles.readings(),
    );
    rows.plain("requests for the list of connectors", |f| {
        f.quiet.reconciles.lists().to_string()
    });
    rows.plain("requests for permissions and the ServerProtection", |f| {
        let reconciles = &f.quiet.reconciles;
        (reconciles.all.total - reconciles.ours.total).to_string()
    });
}

fn times(rows: &mut Rows<'_, Figures>) {
    rows.plain("duration of a PUT", |f| seconds(f.put_seconds));
    rows.plain("floor: all PUTs, 32 at once", |f| seconds(f.floor_seconds));
    rows.measure(
        "process start to all Ready",
        "<= 1.25 floors",
        |f| seconds(f.ready_seconds),
        |f| f.connectors == 0 || f.ready_seconds <= FLOOR_FACTOR * f.floor_seconds,
    );
    rows.plain("reconciles of the ServerProtection meanwhile", |f| {
        f.protection.asked.to_string()
    });
    rows.plain("  time from request to completion, mean", |f| {
        seconds(f.protection.mean_seconds)
    });
    rows.measure(
        "  time from request to completion, maximum",
        "<= 2 s",
        |f| seconds(f.protection.longest_seconds),
        |f| f.protection.longest_seconds <= 2.0,
    );
    rows.plain("restart to one reconcile of each", |f| {
        seconds(f.restart.phase.seconds)
    });
}

fn processor(rows: &mut Rows<'_, Figures>) {
    rows.plain("controller until all are Ready", |f| {
        seconds(f.converge.cpu_seconds)
    });
    rows.plain("controller per quiet reconcile", |f| {
        let used = f.quiet.phase.cpu_seconds;
        milliseconds(milliseconds_each(used, f.quiet.reconciles.readings()))
    });
    rows.plain("kube-apiserver per write (status, event)", |f| {
        let used = f.converge.cores.of("kube-apiserver");
        milliseconds(milliseconds_each(used, f.served.writes()))
    });
    for program in ["kube-apiserver", "emulator"] {
        rows.program(format!("until all are Ready: {program}"), program, |f| {
            &f.converge
        });
    }
    rows.noise("until all are Ready", |f| &f.converge);
}

fn memory(rows: &mut Rows<'_, Figures>) {
    let nothing = rows.all.iter().find(|f| f.connectors == 0);
    let [ready, quiet] = [
        nothing.map_or(0, |f| f.converge.peak),
        nothing.map_or(0, |f| f.quiet.phase.peak),
    ];
    rows.peak("peak (VmHWM) when all are Ready", |f| &f.converge, |_| true);
    rows.plain("  growth from no connectors", |f| {
        megabytes(f.converge.peak.saturating_sub(ready))
    });
    rows.plain("peak after restart and quiet reconciles", |f| {
        megabytes(f.quiet.phase.peak)
    });
    rows.plain("  growth from no connectors", |f| {
        megabytes(f.quiet.phase.peak.saturating_sub(quiet))
    });
}

fn most_lists(figures: &Figures) -> f64 {
    let lists = (figures.converge.seconds / LIST_SECONDS).ceil() + 1.0;
    lists * ratio(count(figures.connectors.div_ceil(PAGE).max(1)), 1)
}

/// The ServerProtection: its own way to Ready, its machines, and its connectors.
fn most_refreshes(figures: &Figures) -> f64 {
    (figures.converge.seconds / REFRESH_SECONDS).ceil() + 5.0
}

fn per_connector(of: u64, figures: &Figures) -> String {
    format!("{:.3}", ratio(of, count(figures.connectors)))
}

fn per_reconcile(reconciles: &Reconciles) -> String {
    format!("{:.3}", ratio(reconciles.ours.reads(), reconciles.readings()))
}
