//! Chooses the format of a scrape: `OpenMetrics` if the Accept header names it, otherwise the Prometheus text format.

/// A format of the metrics page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The Prometheus text format 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The value of Content-Type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Returns the format for the values of the Accept header. `OpenMetrics` must be named, with at least the quality
    /// of plain text. A client that accepts neither gets plain text, as with Prometheus' own libraries.
    pub(crate) fn negotiate<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let ranges: Vec<Range<'a>> = accept
            .into_iter()
            .flat_map(|value| value.split(','))
            .filter_map(Range::parse)
            .collect();
        let open_metrics = quality(&ranges, Range::is_open_metrics).unwrap_or_default();
        // The most specific range decides.
        let text = quality(&ranges, Range::is_text)
            .or_else(|| quality(&ranges, |range| range.type_ == "text/*"))
            .or_else(|| quality(&ranges, |range| range.type_ == "*/*"))
            .unwrap_or_default();
        if open_metrics > 0.0 && open_metrics >= text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// The highest quality of the matching ranges; `None` if no range matches.
fn quality<'a>(ranges: &[Range<'a>], matches: impl Fn(&Range<'a>) -> bool) -> Option<f32> {
    let matching = ranges.iter().filter(|range| matches(range));
    matching.map(|range| range.quality).reduce(f32::max)
}

/// One media range.
struct Range<'a> {
    /// In lower case.
    type_: String,
    version: Option<&'a str>,
    quality: f32,
}

impl<'a> Range<'a> {
    /// Returns `None` if the quality is not a number from 0 to 1.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self {
            type_: parts.next()?.to_ascii_lowercase(),
            version: None,
            quality: 1.0,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => range.version = Some(value),
                "q" => {
                    let quality = value.parse().ok();
                    range.quality = quality.filter(|quality| (0.0..=1.0).contains(quality))?;
                }
                _ => {}
            }
        }
        Some(range)
    }

    fn is_open_metrics(&self) -> bool {
        self.type_ == "application/openmetrics-text" && matches!(self.version, None | Some("1.0.0"))
    }

    fn is_text(&self) -> bool {
        self.type_ == "text/plain" && matches!(self.version, None | Some("0.0.4"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_served_on_request_only() {
        use Format::{OpenMetrics, Text};
        let cases: [(&[&str], Format); 19] = [
            (&[], Text),
            (&[""], Text),
            (&["*/*"], Text),
            (&["text/plain"], Text),
            (&["text/*;q=0.1"], Text),
            (&["application/*"], Text),
            (&["application/json"], Text),
            (&["application/openmetrics-text"], OpenMetrics),
            (&["Application/OpenMetrics-Text; Version=1.0.0"], OpenMetrics),
            (&["application/openmetrics-text; version=2.0.0"], Text),
            (&["application/openmetrics-text;q=0"], Text),
            (&["application/openmetrics-text;q=0, */*"], Text),
            (&["application/openmetrics-text;q=x"], Text),
            (&["application/openmetrics-text;q=0.4, text/plain;q=0.5"], Text),
            (
                &["application/openmetrics-text;q=0.5, text/plain;q=0.4"],
                OpenMetrics,
            ),
            // Plain text has the lowest quality.
            (
                &["application/openmetrics-text;q=0.5, text/plain;q=0.4, */*"],
                OpenMetrics,
            ),
            (&["text/plain;q=0.5", "application/openmetrics-text"], OpenMetrics),
            // Prometheus 2.
            (
                &[
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ],
                OpenMetrics,
            ),
            // Prometheus 3 with text first.
            (
                &[
                    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,\
                   application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2",
                ],
                Text,
            ),
        ];
        for (accept, expected) in cases {
            let format = Format::negotiate(accept.iter().copied());
            assert_eq!(format, expected, "{accept:?}");
        }
    }
}
