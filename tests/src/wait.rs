//! Waits for a condition, and reports the last state if it is not met in time.

use crate::error::Error;
use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};

/// Pause between two attempts of [`eventually`].
const PAUSE: Duration = Duration::from_millis(50);

/// Calls `attempt` every 50 ms until it returns `Ok`, for at most `limit`. The error contains the last `Err`, which
/// should describe the state.
pub async fn eventually<T, E, F, A>(what: &str, limit: Duration, attempt: F) -> Result<T, Error>
where
    E: Display,
    F: FnMut() -> A,
    A: Future<Output = Result<T, E>>,
{
    retry(limit, PAUSE, attempt).await.map_err(|last| Error::Timeout {
        what: what.to_owned(),
        after: limit,
        last,
    })
}

/// Calls `attempt` until it returns `Ok`, for at most `limit`, with a pause after each `Err`. Returns the last `Err` as
/// text. An attempt that wants to give up earlier returns its error in an `Ok`.
///
/// # Errors
///
/// The last state, if the time limit has passed.
pub async fn retry<T, E, F, A>(limit: Duration, pause: Duration, mut attempt: F) -> Result<T, String>
where
    E: Display,
    F: FnMut() -> A,
    A: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    let mut last = String::from("nothing: no attempt returned");
    loop {
        let left = limit.saturating_sub(began.elapsed());
        match tokio::time::timeout(left, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => {}
        }
        if began.elapsed().saturating_add(pause) > limit {
            return Err(last);
        }
        tokio::time::sleep(pause).await;
    }
}

/// The opposite: `attempt` must return `Ok` for the whole of `duration`. The first `Err` fails.
pub async fn throughout<E, F, A>(what: &str, duration: Duration, mut attempt: F) -> Result<(), Error>
where
    E: Display,
    F: FnMut() -> A,
    A: Future<Output = Result<(), E>>,
{
    let began = Instant::now();
    while began.elapsed() < duration {
        attempt()
            .await
            .map_err(|e| Error::Other(format!("{what}: no longer after {:?}: {e}", began.elapsed())))?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_failure_shows_the_last_state() {
        let mut n = 0;
        let error = eventually("the moon", Duration::from_millis(120), || {
            n += 1;
            std::future::ready(Err::<(), _>(format!("cheese {n}")))
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains("the moon") && error.contains("cheese"), "{error}");
    }

    #[tokio::test]
    async fn an_attempt_that_gives_up_ends_the_wait() {
        let gives_up = retry(Duration::MAX, Duration::ZERO, || {
            std::future::ready(Ok::<_, String>(Err::<(), _>("the moon is gone")))
        });
        assert_eq!(gives_up.await, Ok(Err("the moon is gone")));
    }

    #[tokio::test]
    async fn an_attempt_that_hangs_does_not_hang_the_wait() {
        let wait = eventually(
            "an answer",
            Duration::from_millis(100),
            std::future::pending::<Result<(), String>>,
        );
        assert!(
            tokio::time::timeout(Duration::from_secs(5), wait)
                .await
                .unwrap()
                .is_err()
        );
    }

    #[tokio::test]
    async fn throughout_ends_with_the_first_failure() {
        let mut n = 0;
        let result = throughout("calm", Duration::from_secs(5), || {
            n += 1;
            std::future::ready(if n < 3 { Ok(()) } else { Err("storm") })
        })
        .await;
        assert!(result.unwrap_err().to_string().contains("storm"));
    }
}
