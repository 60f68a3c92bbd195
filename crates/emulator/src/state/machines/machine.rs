//! A machine in compact form: memory must hold a hundred thousand of them.
//!
//! There are no timers. The state of an extension at any moment follows from the four moments of its record,
//! so a lagging index reads the same record for an earlier moment.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    names::{Cloud, Power, State, Status},
    os::OsId,
};

/// Milliseconds since the epoch on the fleet's own clock.
pub(crate) type Moment = i64;
/// After any other moment.
pub(crate) const NEVER: Moment = i64::MAX;

/// Kinds of machines, each with the first letter of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// `Microsoft.Compute/virtualMachines`
    #[serde(rename = "c")]
    Vm,
    /// `Microsoft.HybridCompute/machines`
    #[serde(rename = "h")]
    Arc,
    /// `Microsoft.Compute/virtualMachineScaleSets`
    #[serde(rename = "s")]
    ScaleSet,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Vm, Self::Arc, Self::ScaleSet];

    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Vm => 'c',
            Self::Arc => 'h',
            Self::ScaleSet => 's',
        }
    }

    pub(crate) const fn full_type(self) -> &'static str {
        match self {
            Self::Vm => "Microsoft.Compute/virtualMachines",
            Self::Arc => "Microsoft.HybridCompute/machines",
            Self::ScaleSet => "Microsoft.Compute/virtualMachineScaleSets",
        }
    }

    /// The kind with this full type, in any case.
    pub(crate) fn of_type(full_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.full_type().eq_ignore_ascii_case(full_type))
    }

    pub(crate) fn key(self, group: &str, name: &str) -> String {
        format!(
            "{}/{}/{}",
            self.letter(),
            group.to_ascii_lowercase(),
            name.to_ascii_lowercase()
        )
    }
}

/// The type of an extension, independent of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum What {
    /// `MDE.Windows` or `MDE.Linux`.
    Mde,
    /// The Azure Monitor agent, an unrelated extension.
    Monitor,
    /// Publisher and type.
    Own(Box<(Box<str>, Box<str>)>),
}

/// `settings.vNextEnabled` with the types that occur in Azure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum VNext {
    #[default]
    Absent,
    True,
    /// The policies write `"true"`.
    Text,
    False,
}

impl VNext {
    /// The JSON value in the settings.
    pub(crate) fn value(self) -> Option<Value> {
        match self {
            Self::Absent => None,
            Self::True => Some(json!(true)),
            Self::Text => Some(json!("true")),
            Self::False => Some(json!(false)),
        }
    }
}

/// An extension resource of a machine. It exists from `created` to `gone`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ext {
    pub(crate) what: What,
    /// Absent if it is the name of its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<Box<str>>,
    #[serde(rename = "from")]
    pub(crate) created: Moment,
    /// Start of the last run, which is in progress until `done`.
    #[serde(default)]
    pub(crate) run: Moment,
    #[serde(default)]
    pub(crate) done: Moment,
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(crate) deleting: Moment,
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(crate) gone: Moment,
    #[serde(default = "succeeded", skip_serializing_if = "is_success")]
    pub(crate) outcome: State,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) code: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<Box<str>>,
    /// JSON text of the settings of a caller's PUT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settings: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) vnext: VNext,
    /// Planned by Defender, so it is withdrawn when the reason goes away.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) automatic: bool,
}

const fn never() -> Moment {
    NEVER
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_never(moment: &Moment) -> bool {
    *moment == NEVER
}

const fn succeeded() -> State {
    State::Succeeded
}

fn is_success(state: &State) -> bool {
    *state == State::Succeeded
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Ext {
    /// A record of an extension that was installed successfully at `created`.
    pub(crate) fn new(what: What, created: Moment, done: Moment) -> Self {
        Self {
            what,
            name: None,
            created,
            run: created,
            done,
            deleting: NEVER,
            gone: NEVER,
            outcome: State::Succeeded,
            code: 0,
            message: None,
            version: None,
            settings: None,
            vnext: VNext::Absent,
            automatic: false,
        }
    }

    pub(crate) fn exists(&self, at: Moment) -> bool {
        self.created <= at && at < self.gone
    }

    /// Time of the last write of the resource, for `systemData`. A deletion is not a write.
    pub(crate) fn modified(&self) -> Moment {
        self.run.min(self.done)
    }

    pub(crate) fn state(&self, at: Moment) -> State {
        if at >= self.deleting {
            State::Deleting
        } else if at >= self.done {
            self.outcome.clone()
        } else if self.run > self.created {
            State::Updating
        } else {
            State::Creating
        }
    }

    pub(crate) fn publisher(&self) -> &str {
        match &self.what {
            What::Mde => PUBLISHER,
            What::Monitor => "Microsoft.Azure.Monitor",
            What::Own(own) => &own.0,
        }
    }

    pub(crate) fn is_mde(&self) -> bool {
        self.what == What::Mde
    }
}

/// The Arc agent of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agent {
    pub(crate) status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Box<str>>,
    /// `lastStatusChange`.
    pub(crate) changed: Moment,
    pub(crate) cloud: Cloud,
    pub(crate) version: Box<str>,
    #[serde(default)]
    pub(crate) extensions_disabled: bool,
    #[serde(default)]
    pub(crate) monitor_mode: bool,
    /// Status of the extension service; absent if it runs, which each operating system spells differently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<Box<str>>,
    /// `publisher/type` items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allow: Vec<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) block: Vec<Box<str>>,
}

/// The status of a machine's health report, as the service spells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HealthReport {
    #[default]
    Healthy,
    NotHealthy,
}

/// The processor architecture of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Architecture {
    #[default]
    X64,
    Arm64,
}

/// The state of a machine until some moment, for a lagging index.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Past {
    pub(crate) until: Moment,
    pub(crate) power: Power,
    /// The status with its `lastStatusChange`.
    pub(crate) status: Option<(Status, Moment)>,
}

/// A machine or a scale set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    pub(crate) kind: Kind,
    pub(crate) name: Box<str>,
    /// In the spelling that the provider stores.
    pub(crate) group: Box<str>,
    pub(crate) location: Box<str>,
    pub(crate) os: OsId,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) custom_image: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) architecture: Architecture,
    pub(crate) power: Power,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<Box<Agent>>,
    /// Id of the Flexible scale set of a VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scale_set: Option<Box<str>>,
    /// Capacity of a scale set.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) capacity: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) flexible: bool,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) tags: Box<[(Box<str>, Box<str>)]>,
    pub(crate) born: Moment,
    #[serde(default = "never", skip_serializing_if = "is_never")]
    pub(crate) gone: Moment,
    /// The exit code of every attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<u16>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) health_report: HealthReport,
    /// Defender never deploys the sensor, for no reason that ARM shows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) never_provisioned: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) extensions: Vec<Ext>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) past: Vec<Past>,
}

/// The state of a machine at one moment.
pub(crate) struct PowerState<'a> {
    pub(crate) power: &'a Power,
    pub(crate) status: Option<(&'a Status, Moment)>,
}

impl Machine {
    pub(crate) fn new(kind: Kind, name: &str, group: &str, location: &str, os: OsId, born: Moment) -> Self {
        Self {
            kind,
            name: name.into(),
            group: group.into(),
            location: location.into(),
            os,
            custom_image: false,
            architecture: Architecture::X64,
            power: Power::Running,
            agent: None,
            scale_set: None,
            capacity: 0,
            flexible: false,
            tags: Box::default(),
            born,
            gone: NEVER,
            failure: None,
            health_report: HealthReport::Healthy,
            never_provisioned: false,
            extensions: Vec::new(),
            past: Vec::new(),
        }
    }

    pub(crate) fn is_arm64(&self) -> bool {
        self.architecture == Architecture::Arm64
    }

    pub(crate) fn key(&self) -> String {
        self.kind.key(&self.group, &self.name)
    }

    pub(crate) fn id(&self, subscription: &str) -> String {
        format!(
            "/subscriptions/{subscription}/resourceGroups/{}/providers/{}/{}",
            self.group,
            self.kind.full_type(),
            self.name
        )
    }

    pub(crate) fn exists(&self, at: Moment) -> bool {
        self.born <= at && at < self.gone
    }

    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        self.tags
            .iter()
            .find(|(tag, _)| tag.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }

    /// A second resource that the other multicloud connector created; it has no agent.
    pub(crate) fn is_shell(&self) -> bool {
        self.tag("PublicCloudConnectorsResourceId").is_some()
    }

    pub(crate) fn power_state(&self, at: Moment) -> PowerState<'_> {
        let now = PowerState {
            power: &self.power,
            status: self.agent.as_ref().map(|agent| (&agent.status, agent.changed)),
        };
        self.past
            .iter()
            .find(|past| at < past.until)
            .map_or(now, |past| PowerState {
                power: &past.power,
                status: past.status.as_ref().map(|(status, changed)| (status, *changed)),
            })
    }

    /// Records the state before a change.
    pub(crate) fn record(&mut self, now: Moment) {
        self.past.retain(|past| past.until > now - KEPT);
        self.past.push(Past {
            until: now,
            power: self.power.clone(),
            status: self
                .agent
                .as_ref()
                .map(|agent| (agent.status.clone(), agent.changed)),
        });
    }

    /// The extensions at a moment.
    pub(crate) fn extensions(&self, at: Moment) -> impl Iterator<Item = &Ext> {
        self.extensions.iter().filter(move |ext| ext.exists(at))
    }

    pub(crate) fn ext_type<'a>(&self, ext: &'a Ext) -> &'a str {
        match (&ext.what, self.os.get().windows) {
            (What::Mde, true) => "MDE.Windows",
            (What::Mde, false) => "MDE.Linux",
            (What::Monitor, true) => "AzureMonitorWindowsAgent",
            (What::Monitor, false) => "AzureMonitorLinuxAgent",
            (What::Own(own), _) => &own.1,
        }
    }

    pub(crate) fn ext_name<'a>(&self, ext: &'a Ext) -> &'a str {
        ext.name.as_deref().unwrap_or_else(|| self.ext_type(ext))
    }

    /// A number that never changes for this machine.
    pub(crate) fn hash(&self, subscription: &str, salt: u64) -> u64 {
        let key = [subscription, &self.group, &self.name];
        let start = 0xcbf2_9ce4_8422_2325 ^ salt ^ u64::from(u32::from(self.kind.letter()));
        mixed(
            key.iter()
                .flat_map(|part| part.bytes())
                .fold(start, |hash, byte| {
                    (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
                }),
        )
    }

    /// A GUID from such numbers.
    pub(crate) fn guid(&self, subscription: &str, salt: u64) -> String {
        guid(self.hash(subscription, salt), self.hash(subscription, !salt))
    }
}

/// The publisher of the endpoint sensor's extension.
pub(crate) const PUBLISHER: &str = "Microsoft.Azure.AzureDefenderForServers";

/// How long former states are kept: longer than the lag of any index.
pub(crate) const KEPT: Moment = 24 * 3_600_000;

/// Spreads a number over all bits (splitmix64).
pub(crate) const fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(crate) fn guid(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}
