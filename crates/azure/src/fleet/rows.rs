//! Rows of Resource Graph as received: any column may be null, missing, or a string instead of a boolean.

use std::{collections::BTreeMap, fmt, hash::Hasher};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serverprotection_core::{
    Timestamp,
    machines::{
        ArcAgent, Architecture, Image, Kind, Listing, Machine, MdeExtension, Service, failures::Evidence,
        machine::is_no_cloud,
    },
};

use super::forms::{list, object};
use crate::{bounded::BoundedMap, error_response::ends_of};

/// A row of the machines query: a machine, and at most one of its MDE extensions.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct MachineRow {
    id: Text,
    name: Text,
    #[serde(rename = "type")]
    type_: Text,
    subscription_id: Text,
    resource_group: Text,
    location: Text,
    #[serde(deserialize_with = "object")]
    tags: BoundedMap<Text>,
    capacity: Text,
    os_type: Text,
    os_name: Text,
    os_sku: Text,
    os_version: Text,
    image_publisher: Text,
    image_offer: Text,
    image_sku: Text,
    size: Text,
    model: Text,
    architecture: Text,
    power: Text,
    created: Text,
    identity: Text,
    status: Text,
    status_reason: Text,
    status_changed: Text,
    agent_version: Text,
    extensions_enabled: Text,
    #[serde(deserialize_with = "list")]
    allow_list: Vec<ExtensionName>,
    #[serde(deserialize_with = "list")]
    block_list: Vec<ExtensionName>,
    extension_service: Text,
    provider: Text,
    detected_cloud: Text,
    ext_name: Text,
    ext_type: Text,
    ext_state: Text,
    ext_version: Text,
    ext_unified: Text,
    ext_code: Text,
    ext_level: Text,
    ext_message: Text,
    ext_at: Text,
    ext_modified: Text,
}

/// A row of the plans query.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PlanRow {
    pub(super) id: Text,
    pub(super) name: Text,
    pub(super) subscription_id: Text,
    pub(super) tier: Text,
    pub(super) sub_plan: Text,
    pub(super) inherited: Text,
    pub(super) enabled_since: Text,
}

impl PlanRow {
    /// The subscription in lower case; empty if neither a column nor the id contains it.
    pub(super) fn subscription(&self) -> String {
        let of_id = || {
            let mut parts = self.id.0.split('/');
            let is_one = |part: &str| part.eq_ignore_ascii_case("subscriptions");
            parts.nth(1).is_some_and(is_one).then(|| parts.next())?
        };
        let column = Some(self.subscription_id.0.as_str()).filter(|column| !column.is_empty());
        column.or_else(of_id).unwrap_or_default().to_ascii_lowercase()
    }
}

/// A string. Numbers and booleans become their text; null, lists and objects become the empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

/// `{publisher, type}` in an allow list or block list of an agent, or both in one text. An entry without content still
/// counts, because an empty list has another meaning.
#[derive(Debug)]
pub(super) struct ExtensionName(String);

// Not an untagged enum, which would hold the whole entry in memory.
impl<'de> Deserialize<'de> for ExtensionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Parts {
            #[serde(default)]
            publisher: Text,
            #[serde(default, rename = "type")]
            type_: Text,
        }
        struct PartsOrText;
        impl<'de> Visitor<'de> for PartsOrText {
            type Value = ExtensionName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("publisher and type")
            }
            fn visit_str<E>(self, text: &str) -> Result<ExtensionName, E> {
                Ok(ExtensionName(text.to_owned()))
            }
            fn visit_bool<E>(self, _: bool) -> Result<ExtensionName, E> {
                Ok(ExtensionName(String::new()))
            }
            fn visit_i64<E>(self, _: i64) -> Result<ExtensionName, E> {
                Ok(ExtensionName(String::new()))
            }
            fn visit_u64<E>(self, _: u64) -> Result<ExtensionName, E> {
                Ok(ExtensionName(String::new()))
            }
            fn visit_f64<E>(self, _: f64) -> Result<ExtensionName, E> {
                Ok(ExtensionName(String::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ExtensionName, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(ExtensionName(String::new()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ExtensionName, A::Error> {
                let parts = Parts::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ExtensionName(format!("{}/{}", parts.publisher.0, parts.type_.0)))
            }
        }
        deserializer.deserialize_any(PartsOrText)
    }
}

impl Text {
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.0.parse().ok()
    }

    pub(crate) fn is_true(&self) -> bool {
        self.boolean() == Some(true)
    }

    /// `None` for every other text.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.0.trim().to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_string<E>(self, text: String) -> Result<Text, E> {
                Ok(Text(text))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(Anything)
    }
}

impl MachineRow {
    /// The machine of the row. Never fails: a row without content is a machine without facts, which the verdict shows.
    pub(super) fn into_machine(self) -> Machine {
        let kind = match self.type_.0.to_ascii_lowercase().as_str() {
            "microsoft.hybridcompute/machines" => Kind::ArcMachine,
            "microsoft.compute/virtualmachinescalesets" => Kind::UniformScaleSet,
            _ => Kind::VirtualMachine,
        };
        let is_arc = kind == Kind::ArcMachine;
        let tags = self.tags.0.into_iter();
        let tags: BTreeMap<String, String> = tags.map(|(key, value)| (key, value.0)).collect();
        // Names of tags are not case-sensitive.
        let tag = |key: &str| {
            let found = tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
            found.map(|(_, value)| value.as_str())
        };
        let image = Image {
            publisher: self.image_publisher.0,
            offer: self.image_offer.0,
            sku: self.image_sku.0,
        };
        let architecture = Architecture::of(
            &self.size.0,
            &self.model.0,
            &[&self.architecture.0, &self.os_version.0, &image.offer, &image.sku],
        );
        let mut extension = MdeExtension {
            unified: self.ext_unified.boolean(),
            at: self.ext_at.time(),
            modified: self.ext_modified.time(),
            name: self.ext_name.0,
            type_: self.ext_type.0,
            state: self.ext_state.0,
            version: self.ext_version.0,
            code: self.ext_code.0,
            level: self.ext_level.0,
            ..MdeExtension::default()
        };
        report(&mut extension, &self.ext_message.0);
        Machine {
            by_connector: tag("MDFCSecurityConnector")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            other_connector: tag("PublicCloudConnectorsResourceId").is_some_and(|value| !value.is_empty()),
            subscription_id: self.subscription_id.0.to_ascii_lowercase(),
            instances: match kind {
                Kind::UniformScaleSet => self.capacity.0.parse().unwrap_or(0),
                _ => 1,
            },
            arc: is_arc.then(|| ArcAgent {
                last_status_change: self.status_changed.time(),
                status: self.status.0,
                status_reason: self.status_reason.0,
                agent_version: self.agent_version.0,
                extensions_enabled: self.extensions_enabled.0,
                allow_list: names(self.allow_list),
                block_list: names(self.block_list),
                extension_service: Service::of(&self.extension_service.0),
            }),
            cloud: match is_arc {
                true if is_no_cloud(&self.provider.0) => self.detected_cloud.0,
                true => self.provider.0,
                false => String::new(),
            },
            architecture,
            created: self.created.time(),
            identity: self.identity.0,
            image: (image != Image::default() && !is_arc).then_some(image),
            extensions: if extension.name.is_empty() && extension.type_.is_empty() {
                Vec::new()
            } else {
                vec![extension]
            },
            id: self.id.0,
            name: self.name.0,
            resource_group: self.resource_group.0,
            location: self.location.0,
            kind,
            os_type: self.os_type.0,
            os_name: self.os_name.0,
            os_sku: self.os_sku.0,
            os_version: self.os_version.0,
            power: self.power.0,
            tags,
            listing: Listing::Read,
        }
    }
}

/// Bytes of a message that are searched, at its start and at its end. A handler reports up to 4 kB of each of its two
/// outputs.
const SEARCHED: usize = 16 * 1024;

/// Sets the message of an extension, with what the whole of it says.
pub(super) fn report(extension: &mut MdeExtension, message: &str) {
    // The characters that these bytes belong to begin here.
    let boundary = |at: usize| {
        (0..=at.min(message.len()))
            .rev()
            .find(|at| message.is_char_boundary(*at))
    };
    let start = boundary(SEARCHED).unwrap_or_default();
    let rest = boundary(message.len().saturating_sub(SEARCHED)).unwrap_or_default();
    let ends = [message.get(..start), message.get(rest..)].map(Option::unwrap_or_default);
    let ends = ends.join(" ");
    let searched = if rest <= start { message } else { &ends };
    extension.evidence = Evidence::of(searched);
    extension.message = ends_of(searched);
}

pub(super) fn names(list: Vec<ExtensionName>) -> Vec<String> {
    list.into_iter().map(|name| name.0).collect()
}

/// A hash of an id, ignoring case, and of another text. Sets of hashes are smaller than sets of ids.
pub(super) fn hash(id: &str, part: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for byte in id.bytes() {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    hasher.write_u8(b'\n');
    hasher.write(part.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(text: &str) -> Machine {
        serde_json::from_str::<MachineRow>(text).unwrap().into_machine()
    }

    #[test]
    fn nulls_are_empty_and_a_machine_without_an_extension_has_none() {
        let vm = machine(
            r#"{"id": "/S/1/vm", "type": "microsoft.compute/virtualmachines", "subscriptionId": "ABC", "tags": null,
                "osType": "Linux", "osName": null, "imagePublisher": "", "imageSku": null, "allowList": null,
                "status": null, "extName": null, "extState": null, "more": {"a": [1]}}"#,
        );
        assert_eq!((vm.kind, vm.instances), (Kind::VirtualMachine, 1));
        assert_eq!(vm.subscription_id, "abc");
        assert_eq!(vm.image, None);
        assert_eq!(vm.arc, None);
        assert!(vm.extensions.is_empty() && vm.tags.is_empty() && vm.os_name.is_empty());
        assert_eq!(
            machine("{}"),
            Machine {
                instances: 1,
                ..Machine::default()
            }
        );
    }

    #[test]
    fn an_arc_machine_with_its_agent_and_extension() {
        let arc = machine(
            r#"{"id": "/s/1/arc", "type": "microsoft.hybridcompute/machines", "status": "Connected", "osSku": "Ubuntu 22.04.4 LTS",
                "tags": {"mdfcsecurityconnector": "True", "n": 5}, "provider": "", "detectedCloud": "AWS", "agentVersion": "1.64",
                "extensionsEnabled": true, "allowList": [{"publisher": "P", "type": "T"}], "blockList": [], "statusChanged": "2026-01-02T03:04:05.1234567Z",
                "extName": "x", "extType": "MDE.Linux", "extState": "Succeeded", "extUnified": true, "extCode": 0, "extAt": "never"}"#,
        );
        assert!(arc.by_connector && !arc.other_connector);
        assert_eq!(arc.cloud, "AWS");
        let agent = arc.arc.unwrap();
        assert_eq!(agent.allow_list, ["P/T"]);
        assert_eq!(agent.extensions_enabled, "true");
        assert!(agent.last_status_change.is_some());
        let extension = &arc.extensions[0];
        assert_eq!((extension.unified, extension.at), (Some(true), None));
        assert_eq!(extension.code, "0");
    }

    #[test]
    fn an_absent_setting_is_neither_true_nor_false() {
        for (setting, unified) in [
            ("true", Some(true)),
            (r#""True""#, Some(true)),
            ("false", Some(false)),
            (r#""false""#, Some(false)),
            (r#""""#, None),
            ("null", None),
            (r#"{"a": 1}"#, None),
        ] {
            let row = format!(r#"{{"extName": "MDE.Windows", "extUnified": {setting}}}"#);
            assert_eq!(machine(&row).extensions[0].unified, unified, "{row}");
        }
    }

    #[test]
    fn the_whole_message_is_searched_before_it_is_shortened() {
        let log = "setting up ".repeat(10_000);
        for message in [
            format!("curl: Received HTTP code 407 from proxy after CONNECT {log}"),
            format!("{log} ü curl: Received HTTP code 407 from proxy after CONNECT"),
            format!(
                "{}Received HTTP code 407 from proxy after CONNECT",
                "ü".repeat(SEARCHED / 2 - 20)
            ),
        ] {
            let mut extension = MdeExtension::default();
            report(&mut extension, &message);
            assert!(
                extension.evidence.phrases.contains(&"from proxy after connect"),
                "{message:.40}"
            );
            assert!(extension.message.chars().count() <= 503);
        }
    }

    #[test]
    fn the_architecture_is_derived_from_several_columns() {
        for row in [
            r#"{"size": "Standard_D4ps_v5"}"#,
            r#"{"model": "m6g.large"}"#,
            r#"{"architecture": "arm64"}"#,
            r#"{"osVersion": "5.14.0-427.el9.aarch64"}"#,
            r#"{"imageSku": "22_04-lts-arm64"}"#,
            r#"{"imageOffer": "rhel-arm64"}"#,
        ] {
            assert_eq!(machine(row).architecture, Architecture::Arm64, "{row}");
        }
        let x64 =
            machine(r#"{"size": "Standard_D4s_v5", "architecture": "amd64", "imageSku": "22_04-lts-gen2"}"#);
        assert_eq!(x64.architecture, Architecture::X64);
    }

    #[test]
    fn a_scale_set_counts_as_its_capacity() {
        let set = machine(
            r#"{"type": "Microsoft.Compute/virtualMachineScaleSets", "capacity": 12, "imageOffer": "o"}"#,
        );
        assert_eq!((set.kind, set.instances), (Kind::UniformScaleSet, 12));
        assert_eq!(set.image.unwrap().offer, "o");
    }

    #[test]
    fn ids_hash_without_case() {
        assert_eq!(hash("/A/b", "x"), hash("/a/B", "x"));
        assert_ne!(hash("/a", "x"), hash("/a", ""));
    }
}
