//! The record of one request, written when it ends for any reason: dropping the future of an abandoned
//! request drops the record.

use std::{sync::Arc, time::Instant};

use axum::http::Method;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    arm::{Resource, Route},
    emulator::Emulator,
    incoming::Incoming,
    instant,
    log::{Entry, Kind, loggable},
    monitor::{Late, Seen, Stored, of_user_agent, stored},
};

/// A request under way.
pub(crate) struct Record {
    emulator: Arc<Emulator>,
    request: Arc<Incoming>,
    kind: Kind,
    route: Route,
    operation: String,
    principal: Option<String>,
    /// False for requests whose token was refused.
    authenticated: bool,
    began: Instant,
    overlapped: Option<bool>,
    late: Option<Late>,
    pub(crate) fault: Option<String>,
    pub(crate) disturbed: bool,
    pub(crate) unknown: bool,
    before: Option<Stored>,
    after: Option<Stored>,
    read: Vec<Stored>,
    status: u16,
    error_code: Option<String>,
    retry_after: Option<u64>,
}

impl Record {
    pub(crate) fn begin(
        emulator: &Arc<Emulator>,
        request: &Arc<Incoming>,
        kind: Kind,
        route: Route,
        principal: Option<String>,
        authenticated: bool,
    ) -> Self {
        let operation = match kind {
            Kind::Arm => route.operation(&request.method),
            Kind::Token => "POST token".into(),
            Kind::Metadata => format!("GET {}", request.segments.last().map_or("", String::as_str)),
        };
        let mut record = Self {
            emulator: Arc::clone(emulator),
            request: Arc::clone(request),
            kind,
            route,
            operation,
            principal,
            authenticated,
            began: Instant::now(),
            overlapped: None,
            late: None,
            fault: None,
            disturbed: false,
            unknown: false,
            before: None,
            after: None,
            read: Vec::new(),
            status: 0,
            error_code: Some("ClientGone".into()),
            retry_after: None,
        };
        record.begin_write();
        // Record what a write would change even if the write never happens.
        if record.is_write() {
            record.before = record.snapshot().into_iter().next();
        }
        record
    }

    fn begin_write(&mut self) {
        if let (true, Some(principal), Some(lock)) = (
            self.is_write() && self.authenticated,
            &self.principal,
            self.lock(),
        ) {
            let mut monitor = self.emulator.monitor.lock();
            self.overlapped = Some(monitor.begin_write(&self.writer(principal), &lock));
            if let Some(process) = self.process() {
                let body = String::from_utf8_lossy(&self.request.body);
                let content = format!("{} {} {body}", self.request.method, self.request.raw_path);
                self.late = monitor.write_of(principal, &lock, process, &content);
            }
        }
    }

    /// The process of the caller, if it names it.
    fn process(&self) -> Option<&str> {
        of_user_agent(self.request.header("user-agent")?)
    }

    /// Whose writes must not overlap. A process that lost its lease is not waited for.
    fn writer(&self, principal: &str) -> String {
        format!("{principal} {}", self.process().unwrap_or_default())
    }

    /// The lock that a write needs: all plans of a subscription, or one connector.
    fn lock(&self) -> Option<String> {
        let subscription = self.route.subscription.clone()?;
        let Resource::Typed(typed) = &self.route.resource else {
            return None;
        };
        if typed.is("Microsoft.Security", "pricings") {
            return Some(subscription);
        }
        let connector = typed.is("Microsoft.Security", "securityConnectors");
        connector.then(|| self.request.path().to_ascii_lowercase())
    }

    fn is_write(&self) -> bool {
        self.kind == Kind::Arm && !matches!(self.request.method, Method::GET | Method::HEAD)
    }

    fn snapshot(&self) -> Vec<Stored> {
        let world = self.emulator.world.lock();
        let subscription = self
            .route
            .subscription
            .as_ref()
            .and_then(|id| world.subscriptions.get(id));
        subscription
            .map(|subscription| stored(subscription, &self.route))
            .unwrap_or_default()
    }

    pub(crate) const fn route(&self) -> &Route {
        &self.route
    }

    /// Captures the subject's content before the effect.
    pub(crate) fn capture_before(&mut self, seen: Vec<Stored>) {
        if self.is_write() {
            self.before = seen.into_iter().next();
        } else {
            self.read = seen;
        }
    }

    /// Captures it after the effect; true if the effect changed something.
    pub(crate) fn capture_after(&mut self, seen: Vec<Stored>) -> bool {
        if self.is_write() {
            self.after = seen.into_iter().next();
        }
        self.is_write() && self.before != self.after
    }

    /// Records the response.
    pub(crate) fn finish(&mut self, status: u16, error_code: Option<String>, retry_after: Option<u64>) {
        self.status = status;
        self.error_code = error_code;
        self.retry_after = retry_after.filter(|_| matches!(status, 408 | 429 | 500..=599));
    }

    fn entry(&self) -> Entry {
        Entry {
            sequence: 0,
            at: instant::milliseconds(self.request.at),
            kind: self.kind,
            method: self.request.method.to_string(),
            path: self.request.raw_path.clone(),
            query: self.request.raw_query.clone(),
            api_version: self.request.query("api-version"),
            subscription: self.route.subscription.clone(),
            operation: self.operation.clone(),
            status: self.status,
            error_code: self.error_code.clone(),
            principal: self.principal.clone(),
            body: loggable(self.kind, &self.request),
            fault: self.fault.clone(),
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Whether path or query contain a token or a known secret.
    fn secret_in_url(&self, url: &str) -> bool {
        let token = url
            .split(['/', '?', '&', '='])
            .any(|part| part.starts_with("eyJ") && part.matches('.').count() >= 2);
        let world = self.emulator.world.lock();
        token
            || world
                .principals
                .values()
                .flat_map(|principal| &principal.secrets)
                .any(|secret| secret.len() > 4 && url.contains(secret.as_str()))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let sequence = self.emulator.log.lock().push(self.entry());
        let Some(principal) = self
            .principal
            .take()
            .filter(|_| self.kind == Kind::Arm && self.authenticated)
        else {
            return;
        };
        let url = format!("{}?{}", self.request.raw_path, self.request.raw_query);
        let secret_in_url = self.secret_in_url(&url);
        let body: Value = serde_json::from_slice(&self.request.body).unwrap_or_default();
        let mut monitor = self.emulator.monitor.lock();
        if self.overlapped.is_some()
            && let Some(lock) = self.lock()
        {
            monitor.end_write(&self.writer(&principal), &lock);
        }
        let process = self.process().map(str::to_owned);
        monitor.judge(&Seen {
            sequence,
            arrived: instant::epoch_milliseconds(self.request.at),
            answered_at: instant::epoch_milliseconds(Timestamp::now()),
            method: self.request.method.as_str(),
            url: &url,
            route: &self.route,
            principal: &principal,
            process: process.as_deref(),
            body: &body,
            status: self.status,
            undisturbed: self.status != 0 && !self.disturbed,
            unknown: self.unknown,
            secret_in_url,
            overlapped: self.overlapped == Some(true),
            late: self.late,
            retry_after: self.retry_after,
            before: self.before.take(),
            after: self.after.take(),
            read: std::mem::take(&mut self.read),
        });
    }
}
