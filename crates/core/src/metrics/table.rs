//! The table.
#![allow(missing_docs, reason = "each entry carries its own text")]

use super::{Label, Metric, Section, Type};

const KIND: Label = label("kind", "`ServerProtection`, `SecurityConnector`");
const ANY_KIND: Label = label(
    "kind",
    "`ServerProtection`, `SecurityConnector`, `AzureCredential`, `ClusterAzureCredential`",
);
const VERDICT: Label = label("verdict", "the verdicts of [verdicts.md](verdicts.md)");
const ENVIRONMENT: Label = label("environment", "`Azure`, `OnPremises`, `AWS`, `GCP`");
const OPERATION: Label = label(
    "operation",
    "method and resource type, such as `GET pricings/VirtualMachines`; a fixed set",
);

const fn label(name: &'static str, values: &'static str) -> Label {
    Label { name, values }
}

const fn counter(name: &'static str, help: &'static str, labels: &'static [Label]) -> Metric {
    metric(Type::Counter, name, help, labels)
}

const fn gauge(name: &'static str, help: &'static str, labels: &'static [Label]) -> Metric {
    metric(Type::Gauge, name, help, labels)
}

const fn histogram(name: &'static str, help: &'static str, labels: &'static [Label]) -> Metric {
    metric(Type::Histogram, name, help, labels)
}

const fn metric(type_: Type, name: &'static str, help: &'static str, labels: &'static [Label]) -> Metric {
    Metric {
        name,
        type_,
        help,
        labels,
        notes: "",
    }
}

impl Metric {
    const fn note(self, notes: &'static str) -> Self {
        Self { notes, ..self }
    }
}

pub const BUILD_INFO: Metric = metric(
    Type::Info,
    "serverprotection_build_info",
    "Version of the controller; the value is always 1",
    &[
        label("version", "the version of the program"),
        label("os", "the operating system that it was built for"),
        label("arch", "the processor that it was built for"),
    ],
);

pub const LEADER: Metric = gauge(
    "serverprotection_leader",
    "Whether this process is the leader, which alone reconciles objects: 1, or 0 for a standby",
    &[],
)
.note("The sum over all replicas is 1, and 0 for some seconds when the leader changes. The gauges of objects and machines of a standby are 0.");
pub const OBJECTS: Metric = gauge(
    "serverprotection_objects",
    "Objects by the status of their condition Ready",
    &[ANY_KIND, label("ready", "`True`, `False`, `Unknown`")],
);
pub const STALLED_OBJECTS: Metric = gauge(
    "serverprotection_stalled_objects",
    "Objects that need user action, by the reason of their condition Stalled; accounts that Azure cannot sign in to are not among them",
    &[
        ANY_KIND,
        label(
            "reason",
            "the reasons of [status.md](status.md) as a fixed list; any other code of Azure counts as `Other`",
        ),
    ],
)
.note("A series is present only while it counts at least one object.");
pub const RECONCILING_OBJECTS: Metric = gauge(
    "serverprotection_reconciling_objects",
    "Objects that the controller works on, retries or waits for, by the reason of their condition Reconciling",
    &[
        ANY_KIND,
        label(
            "reason",
            "the reasons of Reconciling in [status.md](status.md) as a fixed list; any other counts as `Other`",
        ),
    ],
)
.note("A series is present only while it counts at least one object.");
pub const OVERDUE_OBJECTS: Metric = gauge(
    "serverprotection_overdue_objects",
    "Objects whose next reconcile should have begun more than five minutes ago, or that have not been reconciled since the controller started",
    &[ANY_KIND],
)
.note(
    "Objects that are being deleted, or that this version cannot read, are not among them. A standby reconciles nothing, \
     so all its objects are overdue.",
);
pub const DRIFTED_OBJECTS: Metric = gauge(
    "serverprotection_drifted_objects",
    "Objects whose condition Drifted is True: Azure differs from the spec",
    &[KIND],
);
pub const DRIFTED_FIELDS: Metric = gauge(
    "serverprotection_drifted_fields",
    "Fields in which Azure differs from the spec, of all objects",
    &[KIND],
);
pub const CONTESTED_OBJECTS: Metric = gauge(
    "serverprotection_contested_objects",
    "Objects whose condition Contested is True: another writer keeps changing a field",
    &[KIND],
);
pub const CONTESTED_FIELDS: Metric = gauge(
    "serverprotection_contested_fields",
    "Fields whose enforcement is paused now because another writer keeps changing them",
    &[KIND],
);
pub const CLAIM_CHANGES: Metric = counter(
    "serverprotection_claim_changes_total",
    "Subscriptions and connectors that went from one object to another",
    &[KIND],
)
.note("Every series is present from the start. The log line \"a claim has another owner\" has both names.");
pub const DELETIONS_WAITING: Metric = gauge(
    "serverprotection_deletions_waiting",
    "SecurityConnector objects that are being deleted and wait for Azure",
    &[],
);

pub const RECONCILES: Metric = counter(
    "serverprotection_reconciles_total",
    "Reconciles of objects by their outcome",
    &[
        ANY_KIND,
        label(
            "outcome",
            "`success`, `kubernetes_error` (a request to the API server failed), `timeout`, `panic`",
        ),
    ],
)
.note(
    "A reconcile that ends with a failure of Azure is a `success`: the failure is in the conditions of the object. Every \
     series is present from the start.",
);
pub const RECONCILE_DURATION: Metric = histogram(
    "serverprotection_reconcile_duration_seconds",
    "Duration of reconciles",
    &[ANY_KIND],
);
pub const RECONCILE_PANICS: Metric = counter(
    "serverprotection_reconcile_panics_total",
    "Reconciles that ended with a panic, which is a bug of the controller",
    &[ANY_KIND],
)
.note("Every series is present from the start, so that an alert on a rise does not miss the first panic.");
pub const TASK_PANICS: Metric = counter(
    "serverprotection_task_panics_total",
    "Panics of background tasks, which are bugs of the controller",
    &[label(
        "task",
        "`machine_scan`, `scan_schedule`, `watch_event`, `policy_check`",
    )],
)
.note("Every series is present from the start.");

pub const ADMISSION_POLICY_ENFORCED: Metric = gauge(
    "serverprotection_admission_policy_enforced",
    "Whether an admission policy restricts the controller: 1, or 0 and the controller requests no tokens of service accounts (token) or writes no finalizers (finalizer)",
    &[label("policy", "`token`, `finalizer`")],
)
.note(
    "A series appears when its policy was checked: `finalizer` is checked with a SecurityConnector. There is none with \
     `--allow-unrestricted-tokens`.",
);

pub const STATUS_WRITES: Metric = counter(
    "serverprotection_status_writes_total",
    "Writes of status sent to the API server",
    &[],
);
pub const WATCH_ERRORS: Metric = counter(
    "serverprotection_watch_errors_total",
    "Errors of watches on the API server",
    &[ANY_KIND],
);

pub const AZURE_REQUESTS: Metric = counter(
    "serverprotection_azure_requests_total",
    "Requests to Azure by operation and HTTP status code",
    &[
        OPERATION,
        label("code", "the HTTP status code; `0` when no response arrived"),
    ],
);
pub const AZURE_REQUEST_DURATION: Metric = histogram(
    "serverprotection_azure_request_duration_seconds",
    "Duration of requests to Azure",
    &[OPERATION],
);
pub const CHANGES: Metric = counter(
    "serverprotection_changes_total",
    "Writes that Azure accepted",
    &[label(
        "change",
        "`register`, `plan`, `setting`, `assessment`, `resource_group`, `connector`",
    )],
);

pub const MACHINES: Metric = gauge(
    "serverprotection_machines",
    "Machines by environment and verdict, as the latest scans found them",
    &[ENVIRONMENT, VERDICT],
);
pub const MACHINES_BY_REASON: Metric = gauge(
    "serverprotection_machines_by_reason",
    "Machines by verdict and reason, as the latest scans found them",
    &[
        VERDICT,
        label(
            "reason",
            "the reasons of [verdicts.md](verdicts.md); an exit code that is not in its table counts as `Other`",
        ),
    ],
)
.note("A series is present only while it counts at least one machine.");
pub const MACHINES_ELIGIBLE: Metric = gauge(
    "serverprotection_machines_eligible",
    "Machines that should be protected, as the latest scans found them",
    &[ENVIRONMENT],
)
.note(
    "The denominator of the ratio: machines that are powered off, excluded or not supported are not in it.",
);
pub const MACHINES_PROTECTED_RATIO: Metric = gauge(
    "serverprotection_machines_protected_ratio",
    "Protected machines divided by the machines that should be protected, from 0 to 1",
    &[],
)
.note("`NaN` while no machine should be protected.");
pub const MACHINES_PROTECTED_OBJECTS: Metric = gauge(
    "serverprotection_machines_protected_objects",
    "ServerProtection objects by the reason of their condition MachinesProtected",
    &[label(
        "reason",
        "the reasons of MachinesProtected in [status.md](status.md), such as `BelowMinimum`, `NoReadAccess` and `ScanStale`",
    )],
)
.note("A series is present only while it counts at least one object.");
pub const OBJECT_MACHINES: Metric = gauge(
    "serverprotection_object_machines",
    "Machines of each ServerProtection by verdict",
    &[
        label("namespace", "the namespace of the object"),
        label("name", "the name of the object"),
        VERDICT,
    ],
)
.note(
    "Only with `--per-object-metrics`: one series for each object and verdict. Prometheus renames `namespace` to \
     `exported_namespace` unless the scrape honors labels.",
);

pub const FLEET_SCANS: Metric = counter(
    "serverprotection_fleet_scans_total",
    "Scans of machines by their outcome",
    &[label(
        "outcome",
        "`complete`; `failed` when the machines of at least one subscription could not be read",
    )],
);
pub const FLEET_SCAN_DURATION: Metric = histogram(
    "serverprotection_fleet_scan_duration_seconds",
    "Duration of scans",
    &[],
);
pub const FLEET_SCAN_AGE: Metric = gauge(
    "serverprotection_fleet_scan_age_seconds",
    "Time since the last complete scan of all subscriptions of an identity, the longest of all identities",
    &[],
)
.note("`-1` before the first complete scan.");
pub const FLEET_SCAN_QUERIES: Metric = counter(
    "serverprotection_fleet_scan_queries_total",
    "Queries sent to Azure Resource Graph by scans",
    &[],
);
pub const FLEET_SCAN_PAGES: Metric = counter(
    "serverprotection_fleet_scan_pages_total",
    "Pages of machines read by scans",
    &[],
);
pub const FLEET_SCAN_ROWS: Metric = counter(
    "serverprotection_fleet_scan_rows_total",
    "Rows of machines read by scans",
    &[],
);
pub const FLEET_SCAN_CONFIRMATIONS: Metric = counter(
    "serverprotection_fleet_scan_confirmations_total",
    "Direct requests for single machines that confirmed findings",
    &[],
);
pub const FLEET_SCAN_WAIT: Metric = counter(
    "serverprotection_fleet_scan_wait_seconds_total",
    "Time that queries waited for quota or between retries",
    &[],
);
pub const RESOURCE_GRAPH_QUOTA_REMAINING: Metric = gauge(
    "serverprotection_resource_graph_quota_remaining",
    "Queries that the quota of Azure Resource Graph still allowed at its last response, the smallest of all identities",
    &[],
)
.note("`-1` before the first response.");

/// The metrics in the order of the documentation.
pub const SECTIONS: [Section; 6] = [
    Section {
        title: "Objects",
        metrics: &[
            LEADER,
            OBJECTS,
            STALLED_OBJECTS,
            RECONCILING_OBJECTS,
            OVERDUE_OBJECTS,
            DRIFTED_OBJECTS,
            DRIFTED_FIELDS,
            CONTESTED_OBJECTS,
            CONTESTED_FIELDS,
            CLAIM_CHANGES,
            DELETIONS_WAITING,
        ],
    },
    Section {
        title: "Machines",
        metrics: &[
            MACHINES,
            MACHINES_BY_REASON,
            MACHINES_ELIGIBLE,
            MACHINES_PROTECTED_RATIO,
            MACHINES_PROTECTED_OBJECTS,
            OBJECT_MACHINES,
        ],
    },
    Section {
        title: "Scans of machines",
        metrics: &[
            FLEET_SCANS,
            FLEET_SCAN_DURATION,
            FLEET_SCAN_AGE,
            FLEET_SCAN_QUERIES,
            FLEET_SCAN_PAGES,
            FLEET_SCAN_ROWS,
            FLEET_SCAN_CONFIRMATIONS,
            FLEET_SCAN_WAIT,
            RESOURCE_GRAPH_QUOTA_REMAINING,
        ],
    },
    Section {
        title: "Azure",
        metrics: &[AZURE_REQUESTS, AZURE_REQUEST_DURATION, CHANGES],
    },
    Section {
        title: "Reconciles and the API server",
        metrics: &[
            RECONCILES,
            RECONCILE_DURATION,
            RECONCILE_PANICS,
            TASK_PANICS,
            ADMISSION_POLICY_ENFORCED,
            STATUS_WRITES,
            WATCH_ERRORS,
        ],
    },
    Section {
        title: "The program",
        metrics: &[BUILD_INFO],
    },
];
