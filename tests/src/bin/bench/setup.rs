//! The processes of a run, and the measurements between phases.

use crate::{
    arguments::Arguments,
    cores::{self, Programs, Share},
    progress::{Progress, say, step},
    watching::Watching,
    world::World,
};
use k8s_openapi::jiff::Timestamp;
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use serverprotection_tests::{
    Error,
    control_plane::ControlPlane,
    controller_process::{ControllerOptions, ControllerProcess},
    emulator::Emulator,
    users,
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Options of a run.
pub(crate) struct Setup {
    pub(crate) world: World,
    /// Flags of the emulator.
    pub(crate) seed: Value,
    /// Merged into each subscription, as `ctl set` does.
    pub(crate) set: Option<Value>,
    /// Flags of the controller.
    pub(crate) flags: Vec<String>,
    /// Role assignments of the first subscription.
    pub(crate) connectors: usize,
    /// Name of the run in messages.
    pub(crate) name: String,
}

/// The running processes.
pub(crate) struct Parts {
    pub(crate) world: World,
    pub(crate) plane: ControlPlane,
    pub(crate) emulator: Emulator,
    /// Number of writes that each subscription needs.
    pub(crate) needed: HashMap<String, u64>,
    pub(crate) watching: Watching,
    pub(crate) controller: ControllerProcess,
    pub(crate) programs: Programs,
    pub(crate) started: Timestamp,
    /// Time to create the objects.
    pub(crate) create: Duration,
    pub(crate) name: String,
}

/// A measurement between phases.
pub(crate) struct Reading {
    pub(crate) at: Instant,
    reconciles: u64,
    status_patches: u64,
    versions: u64,
    cpu: Duration,
    resident: u64,
    peak: u64,
    cores: cores::Times,
}

/// What the controller did and used in a phase.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Phase {
    pub(crate) seconds: f64,
    pub(crate) reconciles: u64,
    pub(crate) status_patches: u64,
    /// Versions of objects that a watch received.
    pub(crate) versions: u64,
    pub(crate) cpu_seconds: f64,
    /// Resident memory at the end of the phase, and its peak so far, in bytes.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// Processor time of all programs in the phase.
    pub(crate) cores: Share,
}

/// Starts everything, the controller last.
pub(crate) async fn prepare(setup: Setup, arguments: &Arguments) -> Result<Parts, Error> {
    let Setup {
        world,
        seed,
        set,
        name,
        ..
    } = setup;
    let latency = humantime::format_duration(arguments.latency).to_string();
    let ((plane, emulator), _) = step(
        &format!("{name}: starting etcd, kube-apiserver and the emulator, installing"),
        &Progress::of(0),
        async {
            let plane = ControlPlane::start().await?;
            plane.install().await?;
            let emulator = Emulator::start_with(Some(&seed), &["--latency", &latency]).await?;
            Ok::<_, Error>((plane, emulator))
        },
    )
    .await?;
    let client = plane.admin().await?;
    if let Some(set) = set {
        for number in 0..world.objects {
            emulator.set(&World::subscription(number), set.clone()).await?;
        }
    }
    let needed = world.needed(&emulator).await?;
    let progress = Progress::of(world.objects + setup.connectors);
    let create = async {
        world.create(&client, &progress).await?;
        World::connect(&client, setup.connectors, &progress).await
    };
    let what = format!(
        "{name}: creating {} objects in {} namespaces",
        world.objects + setup.connectors,
        world.namespaces
    );
    let ((), create) = step(&what, &progress, create).await?;
    let watching = Watching::start(client);
    // Lets the API server finish writing and compacting what was just created.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Timestamp::now();
    let controller = controller(&plane, &emulator, setup.flags, arguments)?;
    let programs = programs(&plane, &controller).await;
    Ok(Parts {
        world,
        plane,
        emulator,
        needed,
        watching,
        controller,
        programs,
        started,
        create,
        name,
    })
}

fn controller(
    plane: &ControlPlane,
    emulator: &Emulator,
    flags: Vec<String>,
    arguments: &Arguments,
) -> Result<ControllerProcess, Error> {
    let mut options = ControllerOptions {
        flags: arguments.flags.clone(),
        environment: arguments.environment.clone(),
        program: arguments.program.clone(),
    };
    options.flags.extend(flags);
    let kubeconfig = plane.kubeconfig(users::CONTROLLER)?;
    let log = plane.folder().join("controller.log");
    ControllerProcess::start(&kubeconfig, emulator, &log, &options)
}

async fn programs(plane: &ControlPlane, controller: &ControllerProcess) -> Programs {
    let [etcd, api_server] = plane.process_ids().await;
    Programs::new(&[
        ("controller", controller.id()),
        ("etcd", etcd),
        ("kube-apiserver", api_server),
    ])
}

impl Parts {
    /// Stops the controller and starts another one with these flags.
    pub(crate) async fn restart(&mut self, flags: Vec<String>, arguments: &Arguments) -> Result<(), Error> {
        self.controller.terminate().await?;
        self.started = Timestamp::now();
        self.controller = controller(&self.plane, &self.emulator, flags, arguments)?;
        self.programs = programs(&self.plane, &self.controller).await;
        Ok(())
    }

    /// The measurement at the very beginning.
    pub(crate) fn start(&self) -> Reading {
        Reading {
            at: Instant::now(),
            reconciles: 0,
            status_patches: 0,
            versions: 0,
            cpu: Duration::ZERO,
            resident: 0,
            peak: 0,
            cores: self.programs.times(),
        }
    }

    pub(crate) async fn reading(&mut self) -> Result<Reading, Error> {
        let usage = self.controller.usage()?;
        let cores = self.programs.times();
        let at = Instant::now();
        let versions = self.watching.seen().versions;
        let reconciles = self.counter("serverprotection_reconciles_total").await?;
        let status_patches = self.counter("serverprotection_status_patches_total").await?;
        Ok(Reading {
            at,
            reconciles,
            status_patches,
            versions,
            cpu: usage.cpu,
            resident: usage.resident,
            peak: usage.peak,
            cores,
        })
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a counter of a run"
    )]
    async fn counter(&mut self, name: &str) -> Result<u64, Error> {
        Ok(self.controller.metric(name, &[]).await?.unwrap_or_default() as u64)
    }

    /// Entries of the emulator's log after a sequence number.
    pub(crate) async fn requests(&self, since: u64) -> Result<Vec<Value>, Error> {
        let path = format!("requests?kind=all&since={since}");
        let mut answer = self.emulator.call(Method::GET, &path, None).await?;
        match answer.get_mut("requests").map(Value::take) {
            Some(Value::Array(entries)) => Ok(entries),
            _ => Ok(Vec::new()),
        }
    }

    /// Waits until the API server has delivered no new version for this long.
    pub(crate) async fn until_settled(&mut self, settled: Duration) -> Result<(), Error> {
        let mut last = (self.watching.seen().versions, Instant::now());
        while last.1.elapsed() < settled {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.controller.check()?;
            let versions = self.watching.seen().versions;
            if versions != last.0 {
                last = (versions, Instant::now());
            }
        }
        Ok(())
    }

    /// Stops everything. Keeps the controller's log if requested or if the run failed.
    pub(crate) async fn stop(mut self, arguments: &Arguments, failed: bool) -> Result<(), Error> {
        let log = self.plane.folder().join("controller.log");
        if let Some(copy) = &arguments.keep_log {
            keep(&log, copy)?;
        } else if failed {
            keep(&log, &std::env::temp_dir().join("bench-controller.log"))?;
        }
        // Controller, emulator, kube-apiserver, etcd: no process loses a server that it uses.
        self.controller.terminate_if_running().await?;
        self.emulator.stop().await;
        self.plane.stop().await;
        Ok(())
    }
}

fn keep(log: &PathBuf, copy: &Path) -> Result<(), Error> {
    std::fs::copy(log, copy).map_err(|source| Error::Io {
        what: format!("copy the controller's log to {}", copy.display()),
        source,
    })?;
    say(&format!("log of the controller: {}", copy.display()));
    Ok(())
}

/// The difference of two measurements.
pub(crate) fn phase(before: &Reading, after: &Reading) -> Phase {
    Phase {
        seconds: after.at.duration_since(before.at).as_secs_f64(),
        reconciles: after.reconciles.saturating_sub(before.reconciles),
        status_patches: after.status_patches.saturating_sub(before.status_patches),
        versions: after.versions.saturating_sub(before.versions),
        cpu_seconds: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
        resident: after.resident,
        peak: after.peak,
        cores: cores::between(&before.cores, &after.cores),
    }
}
