//! How long a second replica takes to replace the leader: when the leader is killed, and when it ends by itself.

use crate::{
    arguments::Arguments,
    parts::{self, Parts, Setup},
    progress::{Progress, step},
    report,
    table::{Rows, count, seconds},
    world::World,
};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serverprotection_tests::{Error, controller_process::ControllerProcess};
use std::time::Duration;

/// Time limit of each step. A Lease lasts 15 s.
const LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks at a log.
const PAUSE: Duration = Duration::from_millis(10);

/// The two takeovers of one number of objects.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) objects: usize,
    /// The leader is killed (SIGKILL): the Lease must end first.
    pub(crate) killed: Takeover,
    /// The leader ends (SIGTERM) and gives the Lease back.
    pub(crate) ended: Takeover,
    pub(crate) breaches: Vec<Value>,
}

/// One of the two takeovers.
type Of = fn(&Figures) -> Takeover;

/// Seconds from the signal on.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Takeover {
    /// Until the other replica is the leader.
    pub(crate) leader: f64,
    /// Until its first request to Azure Resource Manager.
    pub(crate) first_request: f64,
    /// Until it has read every object from Azure.
    pub(crate) all_read: f64,
}

/// Runs one number of objects from start to end.
pub(crate) async fn measure(objects: usize, arguments: &Arguments) -> Result<Figures, Error> {
    let world = World {
        objects,
        namespaces: arguments.namespaces(objects),
    };
    let setup = Setup {
        world,
        seed: world.seed_in_sync(),
        set: None,
        flags: Vec::new(),
        connectors: 0,
        name: format!("takeover of {objects} objects"),
    };
    parts::run(setup, arguments, async |parts| {
        run(parts, objects, arguments).await
    })
    .await
}

async fn run(parts: &mut Parts, objects: usize, arguments: &Arguments) -> Result<Figures, Error> {
    let name = parts.name.clone();
    let progress = Progress::of(0);
    let ready = parts.until_ready(&progress, LIMIT);
    step(
        &format!("{name}: running the leader until all are Ready"),
        &progress,
        ready,
    )
    .await?;
    let killed = async {
        let standby = parts.standby("second", arguments).await?;
        takeover(parts, standby, true).await
    };
    let (killed, _) = step(&format!("{name}: killing the leader"), &progress, killed).await?;
    let ended = async {
        let standby = parts.standby("third", arguments).await?;
        takeover(parts, standby, false).await
    };
    let (ended, _) = step(&format!("{name}: ending the leader"), &progress, ended).await?;
    Ok(Figures {
        objects,
        killed,
        ended,
        breaches: parts.emulator.breaches().await?,
    })
}

async fn takeover(parts: &mut Parts, standby: ControllerProcess, kill: bool) -> Result<Takeover, Error> {
    let objects = parts.world.objects;
    let last = parts.last_sequence().await?;
    let began = Timestamp::now();
    let mut former = std::mem::replace(&mut parts.controller, standby);
    if kill {
        former.kill().await;
    } else {
        former.terminate().await?;
    }
    parts
        .until("the other replica to be the leader", LIMIT, PAUSE, |parts| {
            if parts.controller.log().contains("this process is the leader") {
                Ok(())
            } else {
                Err("it is not".into())
            }
        })
        .await?;
    let since = |at: Timestamp| at.duration_since(began).as_secs_f64();
    let leader = since(Timestamp::now());
    parts
        .until_requests("a read of every object", LIMIT, last, |requests| {
            let read = requests
                .iter()
                .filter(|request| request.operation.ends_with("pricings/VirtualMachines"));
            let subscriptions: std::collections::HashSet<_> =
                read.filter_map(|request| request.subscription.as_ref()).collect();
            if subscriptions.len() >= objects {
                return Ok(());
            }
            Err(format!("{} are read", subscriptions.len()))
        })
        .await?;
    let requests = parts.requests(last).await?;
    let asked = requests
        .iter()
        .filter(|request| request.is_arm() && request.at >= began);
    let reads = asked
        .clone()
        .filter(|request| request.operation.ends_with("pricings/VirtualMachines"));
    let first = asked.map(|request| request.at).min().unwrap_or(began);
    let mut first_reads: std::collections::HashMap<_, Timestamp> = std::collections::HashMap::new();
    for request in reads {
        let known = first_reads
            .entry(request.subscription.clone())
            .or_insert(request.at);
        *known = (*known).min(request.at);
    }
    let last_read = first_reads.into_values().max().unwrap_or(began);
    Ok(Takeover {
        leader,
        first_request: since(first),
        all_read: since(last_read),
    })
}

impl report::Figures for Figures {
    const PART: &'static str = "takeover";

    fn column(&self) -> String {
        self.objects.to_string()
    }

    fn breaches(&self) -> &[Value] {
        &self.breaches
    }

    fn rows(rows: &mut Rows<'_, Self>) {
        rows.section = "COUNTS";
        rows.zero("breaches of the safety monitor", |f| count(f.breaches.len()));
        let signals: [(&str, Of); 2] = [
            ("TIME from SIGKILL of the leader", |f| f.killed),
            ("TIME from SIGTERM of the leader", |f| f.ended),
        ];
        for (section, of) in signals {
            rows.section = section;
            rows.plain("until the other replica is the leader", |f| seconds(of(f).leader));
            rows.plain("until its first request to Azure", |f| {
                seconds(of(f).first_request)
            });
            rows.plain("until every object was read", |f| seconds(of(f).all_read));
        }
    }
}
