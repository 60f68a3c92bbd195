//! Pages of a query in their order: repeated where that helps, begun anew once where a token is refused.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serverprotection_core::{
    azure_error::{AzureError, ErrorClass},
    retry,
};

use super::scan::Scan;
use crate::resource_graph::{self, Page, Query};

/// A page of a scan is asked for this often at most.
const TRIES: u32 = 6;

/// Refusals that no smaller group escapes.
const WHATEVER_THE_GROUP: [&str; 3] = [
    "ResultTruncated",
    "InvalidQuery",
    "NoValidSubscriptionsInQueryRequest",
];

/// Where a query is.
#[derive(Debug)]
pub(super) struct Pages<'a> {
    operation: &'static str,
    text: &'a str,
    /// `None`: all that the identity sees.
    subscriptions: Option<Vec<&'a str>>,
    tries: u32,
    token: Option<String>,
    /// The least total that a page told: machines come and go while pages are read.
    least: Option<u64>,
    restarted: bool,
    /// Without `subscriptions`: the identity sees more of them than Azure looked at.
    pub(super) some_left_out: bool,
}

/// What one step of it gave.
#[derive(Debug)]
pub(super) enum PageEvent<R> {
    /// A page, and whether it is the last one.
    Page(Vec<R>, bool),
    /// The token was refused: the next page is the first one again.
    Restart,
}

/// Why pages could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PageError {
    /// Whatever the subscriptions.
    Failed(AzureError),
    /// Azure refuses the query, perhaps because of one of its subscriptions.
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
        Self::asked(operation, text, Some(subscriptions), TRIES)
    }

    /// Pages that are asked for `tries` times at most.
    pub(super) fn asked(
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
                self.least = [self.least, page.total].into_iter().flatten().min();
                if page.skip_token.is_some() && page.skip_token == self.token {
                    return Err(PageError::Failed(
                        self.fail("PageRepeated", "a page names itself as the next one"),
                    ));
                }
                self.token = page.skip_token;
                Ok(PageEvent::Page(page.rows, self.token.is_none()))
            }
            Err(failure) => self.refused(failure),
        }
    }

    fn refused<R>(&mut self, failure: AzureError) -> Result<PageEvent<R>, PageError> {
        let first = self.token.is_none();
        match failure.class {
            ErrorClass::Refused if WHATEVER_THE_GROUP.contains(&failure.code.as_str()) => {
                Err(PageError::Failed(failure))
            }
            ErrorClass::Refused if !first && !self.restarted => {
                tracing::debug!(error = %failure, "skip token refused; reading again from the first page");
                self.restarted = true;
                self.token = None;
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

    /// Nothing is missing: `distinct` rows came, without those that came twice.
    pub(super) fn complete(&self, distinct: u64) -> Result<(), AzureError> {
        match self.least {
            Some(least) if least > distinct => Err(self.fail(
                "IncompleteResult",
                &format!("Resource Graph has {least} rows and gave {distinct}"),
            )),
            _ => Ok(()),
        }
    }

    fn fail(&self, code: &str, message: &str) -> AzureError {
        resource_graph::failure(code, message, self.operation)
    }
}

impl Scan<'_> {
    /// One page, within the quota; the same page again after failures that time mends.
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
                Err(failure) if tries < most && may_be_soon(&failure.class) => {
                    tracing::debug!(error = %failure, tries, "query of a page failed; retrying");
                    self.count(|report| report.retries += 1);
                    // After a refusal for quota, the quota knows how long to wait; it also keeps an outage's wait.
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

/// A wait that Azure asked for is made in the scan up to this.
const LONGEST_HERE: Duration = Duration::from_secs(30);

/// Time mends it, and Azure did not ask for a wait that is too long for a scan.
fn may_be_soon(class: &ErrorClass) -> bool {
    class.is_transient() && class.retry_after().is_none_or(|wait| wait <= LONGEST_HERE)
}

/// The same for a call that no quota holds up: a throttled one that told no time is not worth it.
pub(super) fn worth_waiting(class: &ErrorClass) -> bool {
    *class != ErrorClass::Throttled(None) && may_be_soon(class)
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
    fn a_refused_token_begins_anew_once_and_a_refused_query_may_be_split() {
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
            refused(&mut pages, ErrorClass::Refused, "ResultTruncated"),
            Err(PageError::Failed(_))
        ));
    }

    #[test]
    fn fewer_rows_than_each_page_announced_are_incomplete() {
        let mut pages = Pages::new("q", "", vec![]);
        assert!(pages.complete(0).is_ok());
        pages.least = Some(3);
        assert!(pages.complete(3).is_ok());
        assert_eq!(pages.complete(2).unwrap_err().code, "IncompleteResult");
    }
}
