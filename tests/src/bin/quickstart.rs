//! `make quickstart`: the operator on this machine, from the start to READY, with plain kubectl.
#![allow(clippy::print_stdout, reason = "the output of this program is for the user")]

use serverprotection_tests::{
    Error, binaries,
    emulator::{Emulator, SUBSCRIPTION},
    harness::interrupted,
    quickstart::{ACCOUNT, Cluster, Quickstart, UNLUCKY},
};
use std::{
    fmt::Write as _,
    future::Future,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Time limit until the first object is Ready.
const READY_LIMIT: Duration = Duration::from_secs(300);
/// The machines that need attention, without the rest of `kubectl describe`.
const WORST: &str = r#"jsonpath={range .status.machines.worst[*]}{.name} ({.environment}): {.verdict}, {.reason}{"\n  why:    "}{.message}{"\n  remedy: "}{.remedy}{"\n"}{end}"#;
/// Eleven of the thirteen machines are eligible: one is off, and the sample excludes one. One of the eleven fails.
const SETTLED: &str = "10/11";
/// The two machines that the connector found.
const CONNECTED: &str = "2/2";
/// What to show.
const KINDS: [&str; 2] = ["serverprotection", "securityconnector"];
/// Slow enough to watch; a real Azure takes about as long for each response.
const AZURE_LATENCY: &str = "250ms";

#[tokio::main]
async fn main() -> ExitCode {
    let mut quickstart = Quickstart::default();
    let result = tokio::select! {
        result = run(&mut quickstart) => result,
        signal = interrupted() => {
            say(signal);
            Ok(())
        }
    };
    if let Err(error) = &result {
        eprintln!("quickstart: {error}");
    }
    say("stopping: controller, emulator, kube-apiserver, etcd");
    let theirs = matches!(quickstart.cluster, Some(Cluster::Theirs { .. }));
    quickstart.stop().await;
    if theirs {
        say(
            "left in your cluster; to remove it: kubectl delete -k deploy/samples && kubectl delete -k deploy/base",
        );
    }
    say("all processes have stopped");
    if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn run(quickstart: &mut Quickstart) -> Result<(), Error> {
    // $KUBECONFIG is ignored on purpose, so that the quickstart cannot change a user's cluster by accident.
    quickstart.cluster = Some(match std::env::var_os("KUBECONFIG_QUICKSTART") {
        Some(path) => {
            say(&format!("using the cluster of {}", Path::new(&path).display()));
            Cluster::theirs(Path::new(&path))?
        }
        None => step("starting etcd and kube-apiserver", Cluster::own()).await?,
    });
    quickstart.emulator = Some(step("starting the Azure emulator", Emulator::start()).await?);
    step(
        "installing CRDs, RBAC and policy: kubectl apply -k deploy/base",
        quickstart.cluster()?.install(),
    )
    .await?;
    quickstart
        .emulator()?
        .options(serde_json::json!({ "latency": AZURE_LATENCY }))
        .await?;
    step(
        "starting the controller with the permissions of its service account",
        quickstart.start_controller(),
    )
    .await?;
    explain_azure(quickstart).await?;
    quickstart.add_machines().await?;

    let samples = binaries::root().join("deploy/samples").display().to_string();
    show(quickstart, &["apply", "-k", &samples]).await?;
    watch(quickstart, READY_LIMIT, is_ready).await?;
    explain_azure(quickstart).await?;
    say(
        "now Defender for Cloud deploys its extension to the machines, and PROTECTED grows; the extension fails on one of them. The connector finds two machines in the AWS account",
    );
    watch(quickstart, READY_LIMIT, is_settled).await?;
    let failed = "--for=jsonpath={.status.machines.verdicts.Failed}=1";
    let wait = [
        "wait",
        "serverprotection/contoso-prod",
        "-n",
        "defender",
        failed,
        "--timeout=60s",
    ];
    show(quickstart, &wait).await?;
    show(
        quickstart,
        &[
            "get",
            "serverprotection",
            "contoso-prod",
            "-n",
            "defender",
            "-o",
            WORST,
        ],
    )
    .await?;
    match std::env::var("QUICKSTART_ONCE").as_deref() {
        Ok("1") => return Ok(()),
        Ok("all") => return try_all(quickstart).await,
        _ => {}
    }
    print!("{}", what_next(quickstart)?);
    // Wait for Ctrl-C.
    watch(quickstart, Duration::MAX, |_| false).await
}

/// Prints the start of a step, a line every 5 s while it runs, and its duration.
async fn step<T>(what: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let began = Instant::now();
    say(what);
    let mut work = std::pin::pin!(work);
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            () = tokio::time::sleep(Duration::from_secs(5)) => {
                say(&format!("  still {what}, {} s so far", began.elapsed().as_secs()));
            }
        }
    }?;
    say(&format!("  done in {:.1} s", began.elapsed().as_secs_f64()));
    Ok(result)
}

fn say(what: &str) {
    println!("quickstart: {what}");
}

/// Prints a kubectl command as a user would type it, and its output.
async fn show(quickstart: &Quickstart, args: &[&str]) -> Result<(), Error> {
    println!("\n$ kubectl {}", args.join(" "));
    print!("{}", quickstart.cluster()?.run(args).await?);
    Ok(())
}

/// Prints the table of a kind each time it changes, until `enough` returns `true` for both tables.
async fn watch(
    quickstart: &mut Quickstart,
    limit: Duration,
    enough: impl Fn(&[String; 2]) -> bool,
) -> Result<(), Error> {
    let began = Instant::now();
    let mut last = [String::new(), String::new()];
    loop {
        quickstart.check()?;
        let mut tables = [String::new(), String::new()];
        for ((kind, table), last) in KINDS.iter().zip(&mut tables).zip(&mut last) {
            // A cluster that is polled too often has no time for the controller.
            let args = ["get", kind, "-n", "defender"];
            *table = quickstart.cluster()?.run(&args).await?;
            if without_age(table) != *last {
                *last = without_age(table);
                println!("\n$ kubectl {}\n{}", args.join(" "), table.trim_end());
            }
        }
        if enough(&tables) {
            return Ok(());
        }
        if began.elapsed() > limit {
            let log = quickstart.controller_log()?;
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(10).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            let last = format!(
                "{}\nend of the controller's log:\n{}",
                last.join("\n"),
                tail.join("\n")
            );
            return Err(Error::Timeout {
                what: format!(
                    "READY True with plan P2, and then PROTECTED {SETTLED} and a connector with {CONNECTED}"
                ),
                after: limit,
                last,
            });
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// AGE changes by itself, so it is ignored.
fn without_age(table: &str) -> String {
    let row = |line: &str| {
        line.trim_end()
            .rsplit_once(' ')
            .map_or(String::new(), |(row, _)| row.to_owned())
    };
    table.lines().map(row).collect::<Vec<_>>().join("\n")
}

/// Whether READY is True in the rows of the samples, and the plan is P2.
fn is_ready(tables: &[String; 2]) -> bool {
    let [protections, connectors] = tables;
    shows(protections, &[("READY", "True"), ("PLAN", "P2")])
        && shows(connectors, &[("READY", "True"), ("TIER", "P2")])
}

/// Whether all machines except the failing one are protected.
fn is_settled(tables: &[String; 2]) -> bool {
    let [protections, connectors] = tables;
    shows(protections, &[("READY", "True"), ("PROTECTED", SETTLED)])
        && shows(
            connectors,
            &[("READY", "True"), ("MACHINES", CONNECTED), ("HEALTH", "Healthy")],
        )
}

/// Whether a row has these cells.
fn shows(table: &str, cells: &[(&str, &str)]) -> bool {
    let mut lines = table.lines();
    let Some(header) = lines.next() else { return false };
    let cell = |row: &str, name: &str| {
        // kubectl pads columns: a cell begins where its heading does.
        let start = header.find(name)?;
        row.get(start..)?.split_whitespace().next().map(str::to_owned)
    };
    lines.any(|row| {
        cells
            .iter()
            .all(|(name, value)| cell(row, name).as_deref() == Some(*value))
    })
}

/// One line about the plan of the sample's subscription, from the emulator.
async fn explain_azure(quickstart: &Quickstart) -> Result<(), Error> {
    let subscription = quickstart.emulator()?.get(SUBSCRIPTION).await?;
    let text = |path: &str| {
        subscription
            .pointer(path)
            .and_then(|v| v.as_str())
            .map(str::to_owned)
    };
    let tier = text("/pricings/VirtualMachines/pricingTier").unwrap_or_else(|| "Free".into());
    let plan = text("/pricings/VirtualMachines/subPlan")
        .map(|p| format!(" {p}"))
        .unwrap_or_default();
    println!();
    say(&format!(
        "in the emulated Azure, subscription {SUBSCRIPTION} has the plan: {tier}{plan}"
    ));
    Ok(())
}

/// Something to try, with the commands as they are printed.
struct Step {
    what: &'static str,
    commands: Vec<String>,
}

/// What to try next. A command that shows something follows one that waits for it.
fn steps(kubectl: &str, ctl: &str) -> Vec<Step> {
    // Two requests within a second have different values.
    let reconcile = |object: &str, number: u8| {
        [
            format!("now=$(date +%s).{number}"),
            format!(
                "{kubectl} -n defender annotate {object} --overwrite serverprotection.dev/reconcile-requested-at=$now"
            ),
            format!(
                "{kubectl} -n defender wait {object} --for=jsonpath='{{.status.lastHandledRequest}}'=$now --timeout=60s"
            ),
        ]
    };
    let until = |object: &str, path: &str, value: &str| {
        format!("{kubectl} -n defender wait {object} --for=jsonpath='{{{path}}}'={value} --timeout=60s")
    };
    let role = |state: &str| {
        format!("{ctl} cloud-accounts '{{aws: {{\"{ACCOUNT}\": {{roles: {{CspmMonitorAws: {state}}}}}}}}}'")
    };
    let events =
        |name: &str| format!("{kubectl} -n defender get events --field-selector involvedObject.name={name}");
    let (protection, connector) = ("serverprotection/contoso-prod", "securityconnector/aws-prod");
    vec![
        Step {
            what: "Change the plan. Agentless scanning is P2 only, so it goes off with it",
            commands: vec![
                format!(
                    r#"{kubectl} -n defender patch {protection} --type merge -p '{{"spec":{{"plan":{{"tier":"P1","agentlessScanning":{{"state":"Disabled"}}}}}}}}'"#
                ),
                until(protection, ".status.plan.tier", "P1"),
                events("contoso-prod"),
            ],
        },
        Step {
            what: "Switch the integration with Defender for Endpoint off behind the controller's back, then ask for a \
                   reconcile\n   (by itself it would compare within spec.interval, 10m)",
            commands: [
                vec![format!("{ctl} set {SUBSCRIPTION} settings.WDATP=false")],
                reconcile(protection, 1).into(),
                vec![events("contoso-prod")],
            ]
            .concat(),
        },
        Step {
            what: "Repair the machine that failed, and see PROTECTED follow",
            commands: vec![
                format!(
                    "{ctl} machine set {SUBSCRIPTION} {UNLUCKY} provisioningFailureCode=null mde.provisioningState=Succeeded"
                ),
                until(protection, ".status.display.machines", "11/11"),
                format!("{kubectl} -n defender get {protection}"),
            ],
        },
        Step {
            what: "Break the trust of a role in the AWS account, and read HEALTH and the reason. Then repair it",
            commands: [
                vec![role("wrongTrust")],
                reconcile(connector, 1).into(),
                vec![
                    until(connector, ".status.health", "NotHealthy"),
                    format!(
                        "{kubectl} -n defender get {connector} -o jsonpath='{{.status.issues}}{{\"\\n\"}}'"
                    ),
                    role("ok"),
                ],
                reconcile(connector, 2).into(),
                vec![until(connector, ".status.health", "Healthy"), events("aws-prod")],
            ]
            .concat(),
        },
        Step {
            what: "Delete the object. Azure stays as it is (deletionPolicy: Retain), and its connector waits for it",
            commands: vec![
                format!("{kubectl} -n defender delete {protection}"),
                format!("{kubectl} -n defender wait {connector} --for=condition=Stalled --timeout=60s"),
                format!("{kubectl} -n defender get {connector} -o wide"),
            ],
        },
    ]
}

/// The steps with this cluster's kubectl and this emulator.
fn steps_here(quickstart: &Quickstart) -> Result<Vec<Step>, Error> {
    let emulator = quickstart.emulator()?;
    let ctl = format!(
        "{} ctl --endpoint {} --ca {}",
        binaries::ours("azure-emulator")?.display(),
        emulator.endpoint(),
        emulator.ca().display()
    );
    let kubectl = quickstart.cluster()?.kubectl();
    Ok(steps(&kubectl.program.display().to_string(), &ctl))
}

fn what_next(quickstart: &Quickstart) -> Result<String, Error> {
    let kubeconfig = quickstart.cluster()?.kubectl().kubeconfig;
    let mut text = format!(
        "\nTry this in another terminal; the table below shows what happens.\n\n  export KUBECONFIG={}\n",
        kubeconfig.display()
    );
    for (number, step) in steps_here(quickstart)?.iter().enumerate() {
        let _ = write!(text, "\n{}. {}:\n\n", number + 1, step.what);
        for command in &step.commands {
            let _ = writeln!(text, "  {command}");
        }
    }
    let log = quickstart.controller_log()?;
    let _ = writeln!(
        text,
        "\nThe controller's log: {}\nCtrl-C ends everything that was started here.",
        log.display()
    );
    Ok(text)
}

/// Runs the commands as a paste of each step would (`QUICKSTART_ONCE=all`).
async fn try_all(quickstart: &Quickstart) -> Result<(), Error> {
    let kubeconfig = quickstart.cluster()?.kubectl().kubeconfig;
    for step in steps_here(quickstart)? {
        say(step.what);
        let status = tokio::process::Command::new("sh")
            .args(["-exc", &step.commands.join("\n")])
            .env("KUBECONFIG", &kubeconfig)
            .status()
            .await
            .map_err(|error| Error::Other(format!("sh: {error}")))?;
        if !status.success() {
            return Err(Error::Other(format!("{}: {status}", step.what)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "NAME           SUBSCRIPTION         PLAN   MODE      READY   REASON        DRIFT   AGE\n";

    #[test]
    fn ready_is_read_from_its_columns() {
        let connected = "NAME       CLOUD   ACCOUNT        TIER   READY   REASON   HEALTH    MACHINES   AGE
aws-prod   AWS     123456789012   P2     True    InSync   Unknown              4s\n";
        let found =
            |row: &str, connectors: &str| is_ready(&[format!("{HEADER}{row}\n"), connectors.to_owned()]);
        let table = |row: &str| found(row, connected);
        assert!(table(
            "contoso-prod   Contoso Production   P2     Enforce   True    InSync        0       4s"
        ));
        assert!(!table(
            "contoso-prod   Contoso Production   P1     Enforce   True    InSync        0       4s"
        ));
        assert!(!table(
            "contoso-prod   Contoso Production   P2     Enforce   False   Progressing   0       4s"
        ));
        assert!(!table(
            "contoso-prod                        P2                                              4s"
        ));
        assert!(!is_ready(&[String::new(), connected.to_owned()]));
        assert!(!found(
            "contoso-prod   Contoso Production   P2     Enforce   True    InSync        0       4s",
            &connected.replace("True ", "False")
        ));
    }

    #[test]
    fn age_alone_is_no_change() {
        assert_eq!(without_age("a   True   4s\n"), without_age("a   True   5s\n"));
        assert_ne!(without_age("a   True    4s\n"), without_age("a   False   4s\n"));
    }

    /// A paste is faster than the controller.
    #[test]
    fn what_is_shown_was_waited_for() {
        for step in steps("kubectl", "ctl") {
            let mut changed = false;
            for command in &step.commands {
                let writes = [" patch ", " annotate ", " delete "];
                let is_write =
                    command.starts_with("ctl ") || writes.iter().any(|word| command.contains(word));
                if command.contains(" wait ") {
                    assert!(command.contains("--timeout="), "{command}");
                    changed = false;
                } else if is_write {
                    changed = true;
                } else if !command.starts_with("now=") {
                    assert!(!changed, "{command} shows what is not there yet");
                }
            }
            assert!(!changed, "the result of \"{}\" is not shown", step.what);
        }
    }
}
