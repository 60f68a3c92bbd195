//! The rows about objects: counts first, each figure with its limit.

use crate::{
    api_server::Served,
    objects::Figures,
    report,
    table::{Rows, count, megabytes, milliseconds, milliseconds_each, ratio, seconds},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Limits of docs/benchmarks.md. The processor time of kube-apiserver for a write follows from the other three: 25 ms for
/// 3.2 writes.
const MOST_STATUS_WRITES: f64 = 2.1;
/// One more for the first scan.
const MOST_STATUS_WRITES_WITH_SCAN: f64 = 3.1;
const MOST_EVENTS: f64 = 1.1;
const MOST_GETS: f64 = 0.01;
const MOST_SCAN_GETS: f64 = 1.0;
const MOST_API_SERVER_MS: f64 = 25.0;
const MOST_API_SERVER_MS_PER_WRITE: f64 = 8.0;
const MOST_CONTROLLER_MS: f64 = 5.0;
/// Processor time has steps of 10 ms, so it means nothing for fewer objects.
const LEAST_OBJECTS: usize = 100;

impl report::Figures for Figures {
    const PART: &'static str = "objects";

    fn column(&self) -> String {
        self.objects.to_string()
    }

    fn breaches(&self) -> &[Value] {
        &self.breaches
    }

    fn rows(rows: &mut Rows<'_, Self>) {
        rows.section = "COUNTS";
        judged_counts(rows);
        rows.section = "COUNTS until all are Ready";
        api_server_counts(rows);
        other_counts(rows);
        rows.section = "COUNTS until all show their machines (the first scan)";
        scan_counts(rows);
        rows.section = "TIME";
        times(rows);
        rows.section = "PROCESSOR";
        processor(rows);
        rows.section = "MEMORY of the controller (MB = 1,000,000 bytes)";
        memory(rows);
    }
}

fn judged_counts(rows: &mut Rows<'_, Figures>) {
    rows.plain("changes needed from the initial state", |f| {
        f.expected_changes.to_string()
    });
    rows.count(
        "ARM writes per needed change",
        "exactly 1",
        |f| format!("{:.3}", ratio(f.traffic.converge.writes, f.expected_changes)),
        |f| f.traffic.converge.writes == f.expected_changes,
    );
    rows.zero("objects with other writes than needed", |f| {
        f.traffic.objects_with_other_writes
    });
    rows.zero("ARM writes in the quiet phase", |f| f.traffic.quiet.writes);
    rows.count(
        "ARM reads per quiet reconcile, maximum",
        "<= 4",
        |f| f.traffic.most_reads_in_a_quiet_reconcile.to_string(),
        |f| f.traffic.most_reads_in_a_quiet_reconcile <= 4,
    );
    rows.plain("ARM reads per quiet reconcile, mean", |f| {
        format!(
            "{:.2}",
            ratio(f.traffic.quiet.reads(), f.traffic.quiet_reconciles)
        )
    });
    rows.count(
        "status writes in the quiet phase",
        "0",
        |f| f.quiet.status_writes.to_string(),
        |f| f.quiet.status_writes == 0 && f.quiet.versions == 0,
    );
    rows.zero("objects that stopped being Ready", |f| f.lost);
    rows.count(
        "quiet reconciles per object, minimum",
        ">= 3",
        |f| f.traffic.fewest_quiet_reconciles.to_string(),
        |f| f.traffic.fewest_quiet_reconciles >= 3,
    );
    rows.count(
        "token requests per credential",
        "exactly 1",
        |f| format!("{:.2}", ratio(f.traffic.token_requests, count(f.namespaces))),
        |f| f.traffic.token_requests == count(f.namespaces),
    );
    rows.breaches(|f| &f.breaches);
}

fn api_server_counts(rows: &mut Rows<'_, Figures>) {
    // Those until the last object is Ready contain results of scans, more or fewer by the speed of the machine.
    let status_writes = |f: &Figures| per_object(f.status_writes_until_ready, f);
    let events = |f: &Figures| per_object(f.ready.served.events(), f);
    let gets = |f: &Figures| per_object(f.ready.served.gets(), f);
    rows.count(
        "status writes of an object until it is Ready",
        "<= 2.1",
        |f| format!("{:.3}", status_writes(f)),
        |f| status_writes(f) <= MOST_STATUS_WRITES,
    );
    rows.count(
        "events per object",
        "<= 1.1",
        |f| format!("{:.3}", events(f)),
        |f| events(f) <= MOST_EVENTS,
    );
    rows.count(
        "GETs of our objects per object",
        "<= 0.01",
        |f| format!("{:.3}", gets(f)),
        |f| gets(f) <= MOST_GETS,
    );
}

fn other_counts(rows: &mut Rows<'_, Figures>) {
    rows.plain("ARM calls", |f| f.traffic.converge.total.to_string());
    rows.plain("ARM calls per object", |f| {
        format!("{:.2}", per_object(f.traffic.converge.total, f))
    });
    rows.operations(|f| &f.traffic.converge);
    rows.plain("ARM responses other than 2xx and 404", |f| {
        let calls = &f.traffic.converge;
        (calls.failed() + calls.refused()).to_string()
    });
    rows.plain("reconciles per object", |f| {
        format!("{:.2}", per_object(f.ready.phase.reconciles, f))
    });
    let kinds: BTreeSet<&String> = rows
        .all
        .iter()
        .flat_map(|f| f.ready.served.by_operation.keys())
        .collect();
    for kind in kinds {
        rows.plain(format!("Kubernetes: {kind}"), |f| {
            let requests = f.ready.served.by_operation.get(kind);
            requests.copied().unwrap_or_default().to_string()
        });
    }
}

fn scan_counts(rows: &mut Rows<'_, Figures>) {
    let per = |of: u64, f: &Figures| format!("{:.3}", per_object(of, f));
    let all_status_writes = |f: &Figures| status_writes(&f.reported.served);
    rows.count(
        "status writes per object",
        "<= 3.1",
        |f| per(all_status_writes(f), f),
        |f| per_object(all_status_writes(f), f) <= MOST_STATUS_WRITES_WITH_SCAN,
    );
    rows.plain("events per object", |f| per(f.reported.served.events(), f));
    rows.plain("GETs of our objects per object", |f| {
        per(f.reported.served.gets(), f)
    });
    // Queries are shared by up to 300 subscriptions, so they are no cost of an object.
    let gets = |f: &Figures| f.traffic.scans.total - f.traffic.scans.queries();
    rows.count(
        "GETs of scans per object, without machines (whole run)",
        "<= 1",
        |f| per(gets(f), f),
        |f| per_object(gets(f), f) <= MOST_SCAN_GETS,
    );
    rows.plain("queries of scans (whole run)", |f| {
        f.traffic.scans.queries().to_string()
    });
}

fn times(rows: &mut Rows<'_, Figures>) {
    rows.measure(
        "process start to first request to Azure",
        "< 1 s",
        |f| seconds(f.first_request_seconds),
        |f| f.first_request_seconds < 1.0,
    );
    rows.measure(
        "process start to all Ready",
        "< 20 s",
        |f| seconds(f.converge_seconds),
        |f| f.converge_seconds < 20.0,
    );
    rows.plain("for comparison: creating the objects", |f| {
        seconds(f.create_seconds)
    });
    rows.plain("quiet phase", |f| format!("{:.0} s", f.quiet.seconds));
}

fn processor(rows: &mut Rows<'_, Figures>) {
    let few = |f: &Figures| f.objects < LEAST_OBJECTS;
    let controller = |f: &Figures| milliseconds_each(f.ready.phase.cpu_seconds, count(f.objects));
    let api_server = |f: &Figures| milliseconds_each(f.ready.api_server(), count(f.objects));
    let per_write = |f: &Figures| milliseconds_each(f.ready.api_server(), f.ready.served.writes());
    rows.measure(
        "controller per object until all are Ready",
        "<= 5 ms",
        |f| milliseconds(controller(f)),
        |f| few(f) || controller(f) <= MOST_CONTROLLER_MS,
    );
    rows.measure(
        "kube-apiserver per object until all are Ready",
        "<= 25 ms",
        |f| milliseconds(api_server(f)),
        |f| few(f) || api_server(f) <= MOST_API_SERVER_MS,
    );
    rows.measure(
        "kube-apiserver per write (status, event)",
        "<= 8 ms",
        |f| milliseconds(per_write(f)),
        |f| few(f) || per_write(f) <= MOST_API_SERVER_MS_PER_WRITE,
    );
    until_reported(rows);
    rows.plain("controller per quiet reconcile", |f| {
        milliseconds(milliseconds_each(f.quiet.cpu_seconds, f.quiet.reconciles))
    });
    for program in ["controller", "kube-apiserver", "etcd", "emulator", "bench"] {
        rows.program(format!("until all are Ready: {program}"), program, |f| {
            &f.ready.phase
        });
    }
    rows.noise("until all are Ready", |f| &f.ready.phase);
}

/// The same figures with the first scan.
fn until_reported(rows: &mut Rows<'_, Figures>) {
    let each = |seconds: f64, things: u64| milliseconds(milliseconds_each(seconds, things));
    rows.plain("controller per object with the first scan", |f| {
        each(f.reported.phase.cpu_seconds, count(f.objects))
    });
    rows.plain("kube-apiserver per object with the first scan", |f| {
        each(f.reported.api_server(), count(f.objects))
    });
    rows.plain("kube-apiserver per write with the first scan", |f| {
        each(f.reported.api_server(), f.reported.served.writes())
    });
}

fn memory(rows: &mut Rows<'_, Figures>) {
    rows.peak("peak (VmHWM) when all are Ready", |f| &f.ready.phase, |_| true);
    rows.peak("peak (VmHWM) after the quiet phase", |f| &f.quiet, |_| true);
    rows.plain("resident after the quiet phase", |f| megabytes(f.quiet.resident));
}

fn status_writes(served: &Served) -> u64 {
    served.status_writes("serverprotections")
}

fn per_object(of: u64, figures: &Figures) -> f64 {
    ratio(of, count(figures.objects))
}
