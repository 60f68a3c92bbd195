//! What the transport makes of the bytes of odd responses.

use std::sync::{
    LazyLock, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Body,
    http::{Response as HttpResponse, StatusCode as Status, Uri},
};
use serde_json::json;
use serverprotection_api::Mode;
use serverprotection_core::{azure_error::UNRECOGNIZED_RESPONSE, gate::Gate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{response::LARGEST_RESOURCE as LARGEST, stub};

type Answer = Arc<dyn Fn(usize, &str) -> HttpResponse<Body> + Send + Sync>;

/// A server that answers the nth request with a function of n and the URL of the server.
async fn server(
    answer: impl Fn(usize, &str) -> HttpResponse<Body> + Send + Sync + 'static,
) -> (Arm, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let (answer, own, count): (Answer, _, _) = (Arc::new(answer), url.clone(), Arc::clone(&asked));
    let handle = move |_: Uri| {
        let response = answer(count.fetch_add(1, Ordering::SeqCst), &own);
        async move { response }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handle)).await });
    (stub::arm(url.parse().unwrap()), asked)
}

fn respond(status: u16, body: impl Into<Body>) -> HttpResponse<Body> {
    let mut response = HttpResponse::new(body.into());
    *response.status_mut() = Status::from_u16(status).unwrap();
    response
}

/// A permit that always holds.
static PERMIT: LazyLock<WritePermit> =
    LazyLock::new(|| Gate::open().permit(true, Mode::Enforce, false, "c").unwrap());

fn call(method: Method) -> Call<'static> {
    Call {
        permit: is_write(&method).then(|| &*PERMIT),
        method,
        operation: "GET settings",
        budget: Budget::Subscription("s"),
        path: &["subscriptions", "s", "settings"],
        api_version: "2022-05-01",
        body: None,
        timeout: None,
    }
}

#[tokio::test]
async fn a_write_whose_permit_has_ended_is_not_sent() {
    let gate = Gate::open();
    let permit = gate.permit(true, Mode::Enforce, false, "c").unwrap();
    let (arm, asked) = server(|_, _| respond(200, "{}")).await;
    let with = |permit| Call {
        permit,
        ..call(Method::PUT)
    };
    assert!(arm.call(&with(Some(&permit))).await.is_ok());
    gate.close();
    for permit in [Some(&permit), None] {
        let failure = arm.call(&with(permit)).await.unwrap_err();
        assert_eq!(failure.code, "WritePermitEnded");
        assert!(!failure.effect_unknown);
    }
    assert!(arm.call(&call(Method::GET)).await.is_ok(), "reads need none");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_body_of_the_allowed_size_is_read_and_a_larger_one_is_not() {
    for (size, streamed, fits) in [
        (response::LARGEST_RESOURCE, true, true),
        (response::LARGEST_RESOURCE + 1, true, false),
        (response::LARGEST_RESOURCE + 1, false, false),
    ] {
        let (arm, _) = server(move |_, _| {
            let mut first = format!("\"{}\"", "x".repeat(size - 2));
            if !streamed {
                return respond(200, first);
            }
            let second = first.split_off(size / 2);
            let parts = [first, second].map(Ok::<_, std::io::Error>);
            respond(200, Body::from_stream(futures::stream::iter(parts)))
        })
        .await;
        let answer = arm.call(&call(Method::PUT)).await;
        assert_eq!(answer.is_ok(), fits, "{size} {streamed}");
        if let Err(failure) = answer {
            assert_eq!(failure.class, ErrorClass::Transient);
            assert_eq!(failure.code, "ResponseTooLarge");
            assert!(failure.effect_unknown, "Azure accepted the write");
        }
    }
}

#[tokio::test]
async fn pages_that_repeat_themselves_end() {
    // A page that refers to itself, and two that refer to each other.
    for circle in [1, 2] {
        let (arm, asked) = server(move |nth, own| {
            let token = nth % circle;
            let link = format!("{own}subscriptions/s/settings?api-version=2022-05-01&$skipToken={token}");
            respond(200, json!({"value": [nth], "nextLink": link}).to_string())
        })
        .await;
        let failure = arm.list(&call(Method::GET)).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Transient);
        assert!(failure.message.contains("repeat themselves"), "{failure}");
        assert_eq!(asked.load(Ordering::SeqCst), circle + 1);
    }
}

#[tokio::test]
async fn a_list_that_never_ends_is_not_held_in_memory() {
    let (arm, asked) = server(|nth, own| {
        let link = format!("{own}subscriptions/s/settings?page={nth}");
        respond(
            200,
            json!({"value": ["x".repeat(1000)], "nextLink": link}).to_string(),
        )
    })
    .await;
    let call = call(Method::GET);
    let mut items = 0;
    let limits = Limits {
        total: 10_000,
        ..Limits::LONG
    };
    let read = arm.pages(&call, limits, |page: Vec<Value>| {
        items += page.len();
        Ok(())
    });
    let failure = read.await.unwrap_err();
    assert!(failure.message.contains("too long"), "{failure}");
    assert!(items < 10 && asked.load(Ordering::SeqCst) <= 10);
}

#[tokio::test]
async fn pages_that_never_end_or_stay_empty_end() {
    for (items, limit, message) in [
        (json!([]), MOST_EMPTY_PAGES + 1, "are empty"),
        (json!([1]), Limits::SHORT.pages, "too many pages"),
    ] {
        let (arm, asked) = server(move |nth, own| {
            let link = format!("{own}subscriptions/s/settings?page={nth}");
            respond(200, json!({"value": items, "nextLink": link}).to_string())
        })
        .await;
        let failure = arm.list(&call(Method::GET)).await.unwrap_err();
        assert!(failure.message.contains(message), "{failure}");
        assert_eq!(asked.load(Ordering::SeqCst), limit);
    }
    // Empty pages between others.
    let (arm, _) = server(|nth, own| {
        let items = if nth % 4 == 3 { json!([nth]) } else { json!([]) };
        let link = (nth < 12).then(|| format!("{own}subscriptions/s/settings?page={nth}"));
        respond(200, json!({"value": items, "nextLink": link}).to_string())
    })
    .await;
    assert_eq!(
        arm.list(&call(Method::GET)).await,
        Ok(vec![json!(3), json!(7), json!(11)])
    );
}

#[tokio::test]
async fn an_invalid_character_does_not_make_a_page_unreadable() {
    let (arm, _) = server(|_, _| respond(200, b"{\"value\": [\"a\", \"\xff\xc3\", \"b\"]}".to_vec())).await;
    let items = arm.list(&call(Method::GET)).await;
    assert_eq!(items, Ok(vec![json!("a"), json!("\u{fffd}\u{fffd}"), json!("b")]));
    // A resource may be written back as it was read.
    let (arm, _) = server(|_, _| respond(200, b"{\"name\": \"\xff\"}".to_vec())).await;
    assert_eq!(
        arm.call(&call(Method::GET)).await.unwrap_err().code,
        "UnreadableAnswer"
    );
}

#[tokio::test]
async fn a_long_description_of_an_error_does_not_hide_its_status() {
    let (arm, _) = server(|_, _| respond(403, format!("<p>Blocked</p>{}", " ".repeat(2 * LARGEST)))).await;
    let failure = arm.call(&call(Method::GET)).await.unwrap_err();
    assert_eq!(failure.message, "status 403: Blocked");
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let utf_16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (body, expected) in [
        (utf_16, "in UTF-16"),
        (b"{\"value\": [".to_vec(), "is cut off"),
        (
            b"{\"value\": {\"rows\": []}}".to_vec(),
            "another form than expected",
        ),
        (b"hello".to_vec(), "is not JSON"),
    ] {
        let (arm, _) = server(move |_, _| respond(200, body.clone())).await;
        let failure = arm.list(&call(Method::GET)).await.unwrap_err();
        assert!(failure.message.contains(expected), "{failure}");
    }
    let next = json!({"value": [], "nextLink": "/subscriptions/s/settings?page=2"}).to_string();
    let (arm, _) = server(move |_, _| respond(200, next.clone())).await;
    let failure = arm.list(&call(Method::GET)).await.unwrap_err();
    assert!(failure.message.contains("link to the next page"), "{failure}");
}

#[tokio::test]
async fn a_response_that_ends_early_is_a_lost_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = connection.read(&mut request).await;
        let part = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"prop";
        connection.write_all(part).await.unwrap();
        connection.shutdown().await.unwrap();
    });
    let arm = stub::arm(url.parse().unwrap());
    let failure = arm.call(&call(Method::PUT)).await.unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.effect_unknown),
        ("ConnectionFailed", true)
    );
    assert_eq!(
        failure.message,
        "the connection ended before the response was complete"
    );
}

#[tokio::test]
async fn a_link_to_another_host_is_not_followed_and_no_fault_of_the_spec() {
    let (arm, asked) = server(|_, _| {
        let body = json!({"value": [], "nextLink": "https://elsewhere.example/subscriptions"});
        respond(200, body.to_string())
    })
    .await;
    let failure = arm.list(&call(Method::GET)).await.unwrap_err();
    assert_eq!(
        (failure.class.clone(), failure.hint()),
        (ErrorClass::Transient, None)
    );
    assert!(failure.message.contains("another host"), "{failure}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn pages_of_the_network_are_not_answers_of_azure() {
    let page = "\u{feff}<html><head><style>a{}</style><title>Sign in</title></head><body>to the network</body></html>";
    for status in [200, 302, 401, 403, 404] {
        let (arm, asked) = server(move |_, _| respond(status, page)).await;
        let failure = arm.call(&call(Method::GET)).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Transient, "{status}");
        assert_eq!(failure.code, UNRECOGNIZED_RESPONSE, "{status}");
        assert_eq!(
            failure.message,
            format!("status {status}: Sign in to the network")
        );
        assert_eq!(asked.load(Ordering::SeqCst), 1, "no second token is requested");
    }
}

#[tokio::test]
async fn json_that_is_cut_off_is_unreadable_and_a_write_may_have_had_its_effect() {
    let (arm, _) = server(|_, _| respond(200, r#"{"properties": {"#)).await;
    for (method, writes) in [(Method::GET, false), (Method::PUT, true)] {
        let failure = arm.call(&call(method)).await.unwrap_err();
        assert_eq!(failure.code, "UnreadableAnswer");
        assert_eq!(failure.effect_unknown, writes);
    }
}

#[tokio::test]
async fn a_revoked_token_is_renewed_once() {
    let challenge = "Bearer realm=\"\", error=\"insufficient_claims\", claims=\"e30=\"";
    let refuse = move || {
        let mut response = respond(
            401,
            r#"{"error":{"code":"InvalidAuthenticationToken","message":"m"}}"#,
        );
        let headers = response.headers_mut();
        headers.insert("www-authenticate", challenge.parse().unwrap());
        response
    };
    let (arm, asked) = server(move |nth, _| if nth == 0 { refuse() } else { respond(200, "{}") }).await;
    assert_eq!(arm.call(&call(Method::GET)).await, Ok(json!({})));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let seen = Mutex::new(0);
    let (arm, _) = server(move |_, _| {
        *seen.lock().unwrap() += 1;
        refuse()
    })
    .await;
    let failure = arm.call(&call(Method::GET)).await.unwrap_err();
    assert_eq!(failure.code, "InsufficientClaims");
    assert!(failure.hint().unwrap().contains("Conditional Access"));
}
