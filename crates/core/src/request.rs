//! "Reconcile now": annotations whose new values start a reconcile.

use std::collections::BTreeMap;

use serverprotection_api::annotations;

/// The values of the annotations that request a reconcile, or those of them that status records as handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requested<'a> {
    /// Of `serverprotection.dev/reconcile-requested-at`.
    pub ours: Option<&'a str>,
    /// Of `reconcile.fluxcd.io/requestedAt`.
    pub flux: Option<&'a str>,
}

impl<'a> Requested<'a> {
    /// The values of these annotations.
    pub fn by(annotations: &'a BTreeMap<String, String>) -> Self {
        let value = |name: &str| annotations.get(name).map(String::as_str);
        Self {
            ours: value(annotations::RECONCILE_REQUESTED_AT),
            flux: value(annotations::FLUX_REQUESTED_AT),
        }
    }

    /// Whether an annotation has a value that was not handled yet. To remove an annotation requests nothing.
    pub fn is_new(self, handled: Requested<'_>) -> bool {
        let new = |value: Option<&str>, handled| value.is_some() && value != handled;
        new(self.ours, handled.ours) || new(self.flux, handled.flux)
    }

    /// Records each value as handled, in its field of status. Flux waits for exactly its own value.
    pub(crate) fn record(self, ours: &mut Option<String>, flux: &mut Option<String>) {
        for (value, field) in [(self.ours, ours), (self.flux, flux)] {
            if let Some(value) = value {
                *field = Some(value.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested<'a>(ours: &'a str, flux: &'a str) -> Requested<'a> {
        let value = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        Requested {
            ours: value(ours),
            flux: value(flux),
        }
    }

    #[test]
    fn a_change_of_either_annotation_is_a_request() {
        let handled = requested("1", "a");
        for (ours, flux, new) in [
            ("1", "a", false),
            ("2", "a", true),
            ("1", "b", true),
            ("2", "b", true),
            ("", "a", false),
            ("1", "", false),
            ("", "", false),
            ("a", "1", true),
        ] {
            assert_eq!(requested(ours, flux).is_new(handled), new, "{ours} {flux}");
        }
        assert!(requested("1", "").is_new(Requested::default()));
        assert!(!Requested::default().is_new(Requested::default()));
    }

    #[test]
    fn each_value_is_recorded_in_its_own_field() {
        let (mut ours, mut flux) = (None, Some("a".to_owned()));
        requested("1", "").record(&mut ours, &mut flux);
        assert_eq!((ours.as_deref(), flux.as_deref()), (Some("1"), Some("a")));
        requested("1", "b").record(&mut ours, &mut flux);
        assert_eq!((ours.as_deref(), flux.as_deref()), (Some("1"), Some("b")));
    }

    #[test]
    fn the_values_are_those_of_the_annotations() {
        let annotations = BTreeMap::from([
            ("serverprotection.dev/reconcile-requested-at".into(), "1".into()),
            ("reconcile.fluxcd.io/requestedAt".into(), "a".into()),
        ]);
        assert_eq!(Requested::by(&annotations), requested("1", "a"));
        assert_eq!(Requested::by(&BTreeMap::new()), Requested::default());
    }
}
