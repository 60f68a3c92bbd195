//! Reads the pages of a query in order. Retries transient errors, and restarts once if Azure refuses a skip token.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    retry,
};

use super::{rows::hash, scan::Scan};
use crate::{
    arm::MOST_EMPTY_PAGES,
    resource_graph::{self, Page, Query, RESULT_TRUNCATED},
};

/// The most pages of a result: with 1000 rows each, more than any tenant has.
const MOST_PAGES: usize = 10_000;

/// How often a page of a scan is requested at most.
const TRIES: u32 = 6;

/// Codes of errors that a smaller group does not avoid.
const NOT_FIXED_BY_SPLITTING: [&str; 2] = ["InvalidQuery", "NoValidSubscriptionsInQueryRequest"];

/// The state of a query.
#[derive(Debug)]
pub(super) struct Pages<'a> {
    operation: &'static str,
    text: &'a str,
    /// `None`: all that the identity can see.
    subscriptions: Option<Vec<&'a str>>,
    tries: u32,
    token: Option<String>,
    /// Hashes of the tokens so far.
    seen: HashSet<u64>,
    /// Pages without a row since the last one with rows.
    empty: usize,
    /// The smallest total that a page reported: machines may be created and deleted while pages are read.
    least: Option<u64>,
    restarted: bool,
    /// Azure did not read all subscriptions of the identity; only without `subscriptions`.
    pub(super) some_left_out: bool,
}

/// The result of requesting one page.
#[derive(Debug)]
pub(super) enum PageEvent<R> {
    /// A page, and whether it is the last one.
    Page(Vec<R>, bool),
    /// Azure refused the skip token: the next page is the first one again.
    Restart,
}

/// Why pages could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PageError {
    /// An error that does not depend on the subscriptions.
    Failed(AzureError),
    /// Azure refused the query, perhaps because of one of its subscriptions.
    Refused(AzureError),
}

impl PageError {
    pub(super) fn failure(self) -> AzureError {
        match self {
            Self::Failed(failure) | Self::Refused(failure) => failure,
        }
    }
}

impl<'a> Pages<'a> {
    pub(super) fn new(operation: &'static str, text: &'a str, subscriptions: Vec<&'a str>) -> Self {
        Self::with_tries(operation, text, Some(subscriptions), TRIES)
    }

    /// A query whose pages are requested `tries` times at most.
    pub(super) fn with_tries(
        operation: &'static str,
        text: &'a str,
        subscriptions: Option<Vec<&'a str>>,
        tries: u32,
    ) -> Self {
        Self {
            operation,
            text,
            subscriptions,
            tries,
            token: None,
            seen: HashSet::new(),
            empty: 0,
            least: None,
            restarted: false,
            some_left_out: false,
        }
    }

    /// The next page.
    pub(super) async fn next<R: DeserializeOwned>(
        &mut self,
        scan: &Scan<'_>,
    ) -> Result<PageEvent<R>, PageError> {
        let query = Query {
            operation: self.operation,
            text: self.text,
            subscriptions: self.subscriptions.as_deref(),
            top: scan.scanner.settings.page_size,
            skip_token: self.token.as_deref(),
        };
        match scan.page(&query, self.tries).await {
            Ok(page) => {
                self.some_left_out |= page.some_left_out;
                self.least = Some(self.least.map_or(page.total, |least| least.min(page.total)));
                self.advance(page.skip_token, page.rows.is_empty())
                    .map_err(PageError::Failed)?;
                Ok(PageEvent::Page(page.rows, self.token.is_none()))
            }
            Err(failure) => self.refused(failure),
        }
    }

    /// Remembers the token of the next page. Tokens that repeat themselves, or never end, would never end the scan.
    fn advance(&mut self, next: Option<String>, is_empty: bool) -> Result<(), AzureError> {
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if let Some(token) = &next {
            if self.empty > MOST_EMPTY_PAGES {
                return Err(self.fail("TooManyPages", "too many pages of the result are empty"));
            }
            if !self.seen.insert(hash("", token)) {
                return Err(self.fail("PageRepeated", "the pages of the result repeat themselves"));
            }
            if self.seen.len() >= MOST_PAGES {
                return Err(self.fail("TooManyPages", "the result has too many pages"));
            }
        }
        self.token = next;
        Ok(())
    }

    fn refused<R>(&mut self, failure: AzureError) -> Result<PageEvent<R>, PageError> {
        let first = self.token.is_none();
        match failure.class {
            ErrorClass::Refused if NOT_FIXED_BY_SPLITTING.contains(&failure.code.as_str()) => {
                Err(PageError::Failed(failure))
            }
            ErrorClass::Refused if !first && !self.restarted => {
                tracing::debug!(error = %failure, "skip token refused; reading again from the first page");
                self.restarted = true;
                self.token = None;
                self.seen.clear();
                Ok(PageEvent::Restart)
            }
            ErrorClass::Refused if !first => Err(PageError::Failed(failure)),
            ErrorClass::Refused
            | ErrorClass::Permission(_)
            | ErrorClass::NotFound
            | ErrorClass::NotRegistered => Err(PageError::Refused(failure)),
            _ => Err(PageError::Failed(failure)),
        }
    }

    /// Checks that no row is missing. `distinct` is the number of different rows.
    pub(super) fn complete(&self, distinct: u64) -> Result<(), AzureError> {
        match self.least {
            Some(least) if least > distinct => Err(self.fail(
                "IncompleteResult",
                &format!("Resource Graph reported {least} rows but returned {distinct}"),
            )),
            _ => Ok(()),
        }
    }

    fn fail(&self, code: &str, message: &str) -> AzureError {
        resource_graph::failure(code, message, self.operation)
    }
}

impl Scan<'_> {
    /// Reads one page within the quota, and retries transient errors.
    async fn page<R: DeserializeOwned>(&self, query: &Query<'_>, most: u32) -> Result<Page<R>, AzureError> {
        let mut tries = 0;
        loop {
            let waiting = Instant::now();
            let reservation = self.scanner.quota.reserve().await;
            self.count(|report| report.waited += waiting.elapsed());
            if let Some(failure) = self.stopped() {
                return Err(failure);
            }
            tries += 1;
            self.count(|report| report.queries += 1);
            match self.arm.query(reservation, query).await {
                // A longer wait is the next scan's.
                Err(failure)
                    if tries < most && is_retried(&failure.class) && failure.code != RESULT_TRUNCATED =>
                {
                    tracing::debug!(error = %failure, tries, "query of a page failed; retrying");
                    self.count(|report| report.retries += 1);
                    // After a 429, `reserve` waits for the quota.
                    if !matches!(failure.class, ErrorClass::Throttled(_)) {
                        self.back_off(tries).await;
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Waits before the next try, longer each time.
    pub(super) async fn back_off(&self, tries: u32) {
        let doubled = self.scanner.settings.back_off * (1 << tries.saturating_sub(1).min(5));
        let wait = retry::spread(doubled, fastrand::f64());
        self.count(|report| report.waited += wait);
        tokio::time::sleep(wait).await;
    }
}

/// The longest Retry-After for which a scan waits.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Whether the error is transient, and Azure did not ask for a wait that is too long for a scan.
pub(crate) fn is_retried(class: &ErrorClass) -> bool {
    class.is_transient() && class.retry_after().is_none_or(|wait| wait <= LONGEST_WAIT)
}

/// The same for a request without a quota, for which a 429 without a time is not retried.
pub(super) fn is_retried_without_quota(class: &ErrorClass) -> bool {
    *class != ErrorClass::Throttled(None) && is_retried(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(class: ErrorClass, code: &str) -> AzureError {
        AzureError {
            class,
            ..resource_graph::failure(code, "", "q")
        }
    }

    #[test]
    fn a_refused_token_restarts_once_and_a_refused_query_may_be_split() {
        let mut pages = Pages::new("q", "", vec![]);
        let refused = |pages: &mut Pages<'_>, class, code| pages.refused::<()>(failed(class, code));
        assert!(matches!(
            refused(&mut pages, ErrorClass::Refused, "BadRequest"),
            Err(PageError::Refused(_))
        ));
        pages.token = Some("t".into());
        assert!(matches!(
            refused(&mut pages, ErrorClass::Refused, "BadRequest"),
            Ok(PageEvent::Restart)
        ));
        pages.token = Some("t".into());
        assert!(matches!(
            refused(&mut pages, ErrorClass::Refused, "BadRequest"),
            Err(PageError::Failed(_))
        ));
        assert!(matches!(
            refused(&mut pages, ErrorClass::NotFound, ""),
            Err(PageError::Refused(_))
        ));
        assert!(matches!(
            refused(&mut pages, ErrorClass::Credential, ""),
            Err(PageError::Failed(_))
        ));
        let mut pages = Pages::new("q", "", vec![]);
        assert!(matches!(
            refused(&mut pages, ErrorClass::Refused, "InvalidQuery"),
            Err(PageError::Failed(_))
        ));
    }

    #[test]
    fn tokens_that_repeat_themselves_or_never_end_are_an_error() {
        let mut pages = Pages::new("q", "", vec![]);
        for token in ["a", "b"] {
            pages.advance(Some(token.into()), false).unwrap();
        }
        let failure = pages.advance(Some("a".into()), false).unwrap_err();
        assert_eq!(failure.code, "PageRepeated");
        assert_eq!(pages.token.as_deref(), Some("b"));
        let mut pages = Pages::new("q", "", vec![]);
        let ended = (0..=MOST_PAGES).find_map(|page| pages.advance(Some(page.to_string()), false).err());
        assert_eq!(ended.unwrap().code, "TooManyPages");
        let mut pages = Pages::new("q", "", vec![]);
        let empty = |page: usize| !page.is_multiple_of(5);
        let ended = (0..5).find_map(|page| pages.advance(Some(page.to_string()), empty(page)).err());
        assert_eq!(ended.unwrap().code, "TooManyPages", "four empty pages");
        let mut pages = Pages::new("q", "", vec![]);
        let empty = |page: usize| !page.is_multiple_of(4);
        assert!((0..50).all(|page| pages.advance(Some(page.to_string()), empty(page)).is_ok()));
    }

    #[test]
    fn fewer_rows_than_every_page_reported_are_an_error() {
        let mut pages = Pages::new("q", "", vec![]);
        assert!(pages.complete(0).is_ok());
        pages.least = Some(3);
        assert!(pages.complete(3).is_ok());
        assert_eq!(pages.complete(2).unwrap_err().code, "IncompleteResult");
    }
}
