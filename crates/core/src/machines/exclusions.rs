//! `spec.machines.exclude`: machines that are excluded from the verification.

use std::collections::BTreeMap;

use serverprotection_api::Machines;

use super::Machine;

/// The exclusion rules of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    name: String,
    /// A machine must have all of them; `None` stands for any value.
    tags: BTreeMap<String, Option<String>>,
    /// A machine must be in one of them. Lower case.
    resource_groups: Vec<String>,
    /// A machine must have one of them. Lower case.
    ids: Vec<String>,
}

impl Exclusions {
    /// Reads the rules of a spec.
    pub fn of(spec: &Machines) -> Self {
        let mut exclusions = Self::default();
        for rule in &spec.exclude {
            let tags = rule.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone()));
            exclusions.rule(&rule.name, tags, &rule.resource_groups, &rule.ids);
        }
        exclusions
    }

    /// Adds a rule. A rule without selectors is ignored, because it would select every machine; admission rejects it.
    pub fn rule(
        &mut self,
        name: &str,
        tags: impl IntoIterator<Item = (String, Option<String>)>,
        resource_groups: &[String],
        ids: &[String],
    ) {
        let lower = |texts: &[String]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        let rule = Rule {
            name: name.to_owned(),
            tags: tags.into_iter().collect(),
            resource_groups: lower(resource_groups),
            ids: lower(ids),
        };
        if !(rule.tags.is_empty() && rule.resource_groups.is_empty() && rule.ids.is_empty()) {
            self.rules.push(rule);
        }
    }

    /// Names of the rules, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// The first rule that selects the machine: its index in [`Self::names`] and its name.
    pub fn excluding(&self, machine: &Machine) -> Option<(usize, &str)> {
        let found = self
            .rules
            .iter()
            .enumerate()
            .find(|(_, rule)| rule.selects(machine));
        found.map(|(at, rule)| (at, rule.name.as_str()))
    }
}

impl Rule {
    /// Whether the machine matches every kind of selector that the rule has. As in Azure, the names of tags are not
    /// case-sensitive, their values are.
    fn selects(&self, machine: &Machine) -> bool {
        let tagged = |(key, value): (&String, &Option<String>)| {
            let found = machine
                .tags
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key));
            found.is_some_and(|(_, found)| value.as_ref().is_none_or(|value| value == found))
        };
        let one_of = |texts: &[String], text: &str| {
            texts.is_empty() || texts.iter().any(|one| one.eq_ignore_ascii_case(text))
        };
        self.tags.iter().all(tagged)
            && one_of(&self.resource_groups, &machine.resource_group)
            && one_of(&self.ids, &machine.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            id: "/subscriptions/S/resourceGroups/RG-Lab/providers/Microsoft.Compute/virtualMachines/Web"
                .into(),
            resource_group: "rg-lab".into(),
            tags: BTreeMap::from([("Env".into(), "sandbox".into())]),
            ..Machine::default()
        }
    }

    #[test]
    fn a_rule_selects_machines_that_match_all_its_selectors() {
        let id = machine().id.to_lowercase();
        let tag = |key: &str, value: Option<&str>| vec![(key.to_owned(), value.map(str::to_owned))];
        let groups = |group: &str| vec![group.to_owned()];
        for (tags, groups, ids, selected) in [
            (tag("env", Some("sandbox")), vec![], vec![], true),
            (tag("env", Some("Sandbox")), vec![], vec![], false),
            (tag("env", None), vec![], vec![], true),
            (tag("owner", None), vec![], vec![], false),
            (vec![], groups("RG-LAB"), vec![], true),
            (vec![], groups("rg-prod"), vec![], false),
            (tag("env", None), groups("rg-prod"), vec![], false),
            (vec![], vec![], vec![id.clone()], true),
            (tag("env", None), groups("rg-lab"), vec![id], true),
            (vec![], vec![], vec![], false),
        ] {
            let mut exclusions = Exclusions::default();
            exclusions.rule("lab", tags.clone(), &groups, &ids);
            let found = exclusions.excluding(&machine());
            assert_eq!(found.is_some(), selected, "{tags:?} {groups:?} {ids:?}");
        }
    }
}
