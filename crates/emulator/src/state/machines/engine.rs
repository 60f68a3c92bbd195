//! Which machines get the sensor's extension, and when: decided at each change, read at any moment.
//!
//! There are no timers. A change creates records with moments in the future; until then they are not visible.

use jiff::Timestamp;

use super::{
    Timing,
    machine::{Agent, Ext, KEPT, Kind, Machine, Moment, NEVER, PUBLISHER, VNext, What},
    names::{Power, State, Status},
    os::Support,
};
use crate::state::{Subscription, Tier};

impl Subscription {
    /// The current time of the fleet's clock.
    pub(crate) fn fleet_now(&self, now: Timestamp) -> Moment {
        self.fleet.timing.moment(now)
    }

    /// Plans and withdraws extensions; call it after any change.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        let now = self.fleet_now(now);
        self.discover(now, false);
        let stale: Vec<(Box<str>, bool)> = self
            .fleet
            .machines
            .iter()
            .filter_map(|(key, machine)| {
                let expected = self.wants(machine, now);
                (machine.is_stale(expected, now) || machine.gone < now - KEPT)
                    .then(|| (key.clone(), expected))
            })
            .collect();
        if stale.is_empty() {
            return;
        }
        let (timing, id) = (self.fleet.timing, self.id.clone());
        let machines = self.fleet.machines.change();
        for (key, expected) in stale {
            let Some(machine) = machines.get_mut(&key) else {
                continue;
            };
            if machine.gone < now - KEPT {
                machines.remove(&key);
            } else if expected {
                machine.plan(&id, now, timing);
            } else {
                machine
                    .extensions
                    .retain(|ext| !(ext.automatic && ext.created > now));
            }
        }
    }

    /// Plans again what has not begun, after a change of the delays.
    pub(crate) fn plan_again(&mut self, now: Timestamp) {
        let at = self.fleet_now(now);
        let planned = |ext: &Ext| ext.automatic && ext.created > at;
        if self
            .fleet
            .machines
            .iter()
            .any(|(_, machine)| machine.extensions.iter().any(planned))
        {
            for machine in self.fleet.machines.change().values_mut() {
                machine.extensions.retain(|ext| !planned(ext));
            }
        }
        self.remove_pending(at);
        self.settle(now);
    }

    /// Whether Defender deploys to this machine now.
    pub(crate) fn wants(&self, machine: &Machine, now: Moment) -> bool {
        // A machine that has not appeared yet is judged by its state at that moment.
        let now = now.max(machine.born);
        let os = machine.os.get();
        // A connector deploys by its own switch; the subscription's settings and opt-ins do not affect its machines.
        if let Some(connector) = self.connector_of(machine) {
            let is_supported = match os.support {
                Support::Modern | Support::Legacy => true,
                Support::Unconfirmed => self.fleet.timing.unconfirmed_systems,
                Support::Client | Support::Never => false,
            };
            return is_supported
                && connector.provisions("mdeAutoProvisioning")
                && machine.takes_extensions(now);
        }
        let opted_in = match os.support {
            Support::Modern if os.windows => true,
            Support::Modern => !self.setting("WDATP_EXCLUDE_LINUX_PUBLIC_PREVIEW"),
            Support::Legacy => self.setting("WDATP_UNIFIED_SOLUTION"),
            Support::Unconfirmed => self.fleet.timing.unconfirmed_systems,
            Support::Client | Support::Never => false,
        };
        opted_in && self.setting("WDATP") && machine.takes_extensions(now) && self.protects(machine)
    }

    /// Whether a plan covers the machine: its connector's, its own, or the subscription's.
    pub(crate) fn protects(&self, machine: &Machine) -> bool {
        if let Some(connector) = self.connector_of(machine) {
            return connector.servers().is_some();
        }
        let own = (!self.resource_plans.is_empty())
            .then(|| {
                self.resource_plans
                    .get(&machine.id(&self.id).to_ascii_lowercase())
            })
            .flatten();
        match own {
            Some(own) => own.tier == Tier::Standard,
            None => self
                .plans
                .get("VirtualMachines")
                .is_some_and(|plan| plan.tier == Tier::Standard),
        }
    }
}

impl Machine {
    /// Whether the machine is reachable and takes extensions, and the seed does not exclude it.
    fn takes_extensions(&self, now: Moment) -> bool {
        if self.never_provisioned || self.is_shell() || !self.exists(now) {
            return false;
        }
        match (&self.agent, self.kind) {
            (Some(agent), Kind::Arc) => self.os.get().arc && agent.takes(self.mde_type()),
            (None, Kind::Vm) => self.power == Power::Running,
            _ => false,
        }
    }

    pub(crate) fn mde_type(&self) -> &'static str {
        if self.os.get().windows {
            "MDE.Windows"
        } else {
            "MDE.Linux"
        }
    }

    /// Whether the plan for the extension differs from what is needed.
    fn is_stale(&self, expected: bool, now: Moment) -> bool {
        let mut staying = self
            .extensions
            .iter()
            .filter(|ext| ext.is_mde() && ext.gone == NEVER);
        if expected {
            staying.next().is_none()
        } else {
            staying.any(|ext| ext.automatic && ext.created > now)
        }
    }

    /// Plans the next attempt, after the end of any deletion in progress.
    fn plan(&mut self, subscription: &str, now: Moment, timing: Timing) {
        let now = now.max(self.born);
        self.extensions.retain(|ext| ext.gone > now - KEPT);
        let attempts = u64::try_from(self.extensions.len()).unwrap_or_default();
        let free = self
            .extensions
            .iter()
            .filter(|ext| ext.is_mde())
            .map(|ext| ext.gone);
        let from = free.max().map_or(now, |gone| gone.max(now));
        let spread = i64::try_from(self.hash(subscription, attempts) % 1001).unwrap_or_default();
        let created = from + timing.delay / 1000 * (500 + spread) + timing.delay % 1000;
        let ext = self.attempt(created, timing.taking);
        self.extensions.push(Ext {
            automatic: true,
            ..ext
        });
    }

    /// One run of the sensor's installation, with the machine's result.
    pub(crate) fn attempt(&self, created: Moment, taking: Moment) -> Ext {
        let mut ext = Ext::new(What::Mde, created, created.saturating_add(taking));
        if self.os.get().windows {
            ext.vnext = VNext::True;
        }
        if let Some(code) = self.failure {
            (ext.outcome, ext.code) = (State::Failed, code);
        }
        ext
    }

    /// Adds the extension that the machine would have had the integration been on for a long time.
    pub(crate) fn long_since(&mut self, now: Moment, taking: Moment) {
        let ext = self.attempt(now - 24 * 3_600_000, taking);
        self.extensions.push(Ext {
            done: ext.done.min(now),
            automatic: true,
            ..ext
        });
    }

    /// Starts the deletion of an extension and returns when it ends.
    pub(crate) fn delete_extension(&mut self, name: &str, now: Moment, taking: Moment) -> Option<Moment> {
        let at = self.place(name, now)?;
        let ext = self.extensions.get_mut(at)?;
        if ext.deleting == NEVER {
            ext.deleting = now;
            ext.gone = now + taking;
        }
        Some(ext.gone)
    }

    /// Adds a run, or replaces the extension of the same name; true if there was none.
    pub(crate) fn replace_extension(&mut self, mut ext: Ext, now: Moment) -> bool {
        let name = self.ext_name(&ext).to_owned();
        // Defender does not deploy over an extension that a user deploys.
        self.extensions
            .retain(|old| !(old.automatic && old.created > now));
        let old = self.place(&name, now).and_then(|at| self.extensions.get_mut(at));
        let new = old.is_none();
        if let Some(old) = old {
            old.gone = now;
            // An update: the run begins after the extension was created.
            ext.run = now + 1;
        }
        self.extensions.push(ext);
        new
    }

    fn place(&self, name: &str, now: Moment) -> Option<usize> {
        self.extensions
            .iter()
            .position(|ext| ext.exists(now) && self.ext_name(ext).eq_ignore_ascii_case(name))
    }

    /// An extension by name.
    pub(crate) fn extension(&self, name: &str, at: Moment) -> Option<&Ext> {
        self.extensions(at)
            .find(|ext| self.ext_name(ext).eq_ignore_ascii_case(name))
    }
}

impl Agent {
    /// Whether the extension service is stopped, by any status of either operating system.
    pub(super) fn service_stopped(&self) -> bool {
        let still = ["stopped", "paused", "inactive", "failed", "dead", "disabled"];
        let status = self.service.as_deref().unwrap_or_default();
        still.iter().any(|known| status.eq_ignore_ascii_case(known))
    }

    fn takes(&self, ext_type: &str) -> bool {
        let expected = format!("{PUBLISHER}/{ext_type}");
        let listed = |list: &[Box<str>]| list.iter().any(|item| item.eq_ignore_ascii_case(&expected));
        // Monitor mode takes extensions that monitor or protect, including the sensor's.
        self.status == Status::Connected
            && !self.extensions_disabled
            && !self.service_stopped()
            && !listed(&self.block)
            && (self.allow.is_empty() || listed(&self.allow))
    }
}
