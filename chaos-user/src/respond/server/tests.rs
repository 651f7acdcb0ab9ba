use reqwest::Client;

use super::*;

/// A responder and its control address, on ports of the kernel's choice.
async fn start(upstream: Option<SocketAddr>, rules: &str) -> (String, String) {
    let upstream = upstream.map(|address| format!("http://{address}").parse().unwrap());
    let rules = RuleSet::parse(rules, Path::new("test")).unwrap();
    let calls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let controls = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = [&calls, &controls].map(|at| format!("http://{}", at.local_addr().unwrap()));
    tokio::spawn(Responder::new(upstream, rules).serve_on(calls, controls));
    urls.into()
}

/// A service that says what it was asked, with spaces that no JSON writer would leave.
async fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept(listener, async |call: Request<Incoming>| {
        let (method, uri) = (call.method().clone(), call.uri().clone());
        let seen = call.headers().get("x-caller").cloned();
        let body = collect(call.into_body()).await.unwrap();
        let body = String::from_utf8_lossy(&body).replace('"', "'");
        let said =
            format!(r#"{{ "result":  {{"address": "4A", "asked": "{method} {uri} {body}"}}}}"#);
        let mut answer = typed(StatusCode::CREATED, said, "application/json");
        answer.headers_mut().insert("x-seen", seen.unwrap_or(HeaderValue::from_static("none")));
        answer
    }));
    address
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn state(http: &Client, control: &str) -> Value {
    http.get(format!("{control}/")).send().await.unwrap().json().await.unwrap()
}

async fn ask(http: &Client, url: &str) -> String {
    let call = http.post(format!("{url}/json_rpc?q=1")).header("X-Caller", "me");
    let answer = call.body(r#"{"method": "address"}"#).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-seen"]),
        (201, &"me".parse().unwrap())
    );
    answer.text().await.unwrap()
}

#[tokio::test]
async fn callers_are_told_different_things_while_a_rule_is_in_force() {
    let (url, control) = start(Some(service().await), "[]").await;
    let http = client();
    let truth =
        r#"{ "result":  {"address": "4A", "asked": "POST /json_rpc?q=1 {'method': 'address'}"}}"#;
    assert_eq!(ask(&http, &url).await, truth);

    let rules = json!([{"when": {"method": "address"}, "set": {"$.result.address": ["4B", "4C"]}}]);
    let put = http.put(format!("{control}/rules")).json(&rules).send().await.unwrap();
    assert_eq!(put.status(), 204);
    for told in ["4B", "4C", "4B"] {
        let answer: Value = serde_json::from_str(&ask(&http, &url).await).unwrap();
        assert_eq!(answer["result"]["address"], told);
    }
    let other = http.post(&url).body(r#"{"method": "other"}"#).send().await.unwrap();
    assert!(other.text().await.unwrap().starts_with(r#"{ "result":  {"address": "4A""#));
    let expected = json!({"requests": 4, "matched": 3, "changed": 3, "rules": rules});
    assert_eq!(state(&http, &control).await, expected);

    let bad = http.put(format!("{control}/rules")).body("[{answers: [{}]}, {sett: {}}]");
    let refused = bad.send().await.unwrap();
    assert_eq!(refused.status(), 422);
    let why = refused.text().await.unwrap();
    assert_eq!(why, "rules:1:20: unknown key `sett`; did you mean `set`?");
    assert_eq!(state(&http, &control).await, expected, "nothing of bad rules is in force");

    let ended = http.delete(format!("{control}/rules")).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    assert_eq!(ask(&http, &url).await, truth);
    let expected = json!({"requests": 5, "matched": 3, "changed": 3, "rules": []});
    assert_eq!(state(&http, &control).await, expected);
}

#[tokio::test]
async fn answers_need_no_service_and_what_cannot_be_answered_says_why() {
    let rules = "[{when: {path: ^/x$}, answers: [{status: 503}, {body: {ok: true}}, {body: '{'}]}]";
    let (url, control) = start(None, rules).await;
    let http = client();
    for told in [(503, ""), (200, r#"{"ok":true}"#), (200, "{"), (503, "")] {
        let answer = http.get(format!("{url}/x")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), told);
    }
    let nobody = http.get(format!("{url}/y")).send().await.unwrap();
    assert_eq!(nobody.status(), 502);
    assert!(nobody.text().await.unwrap().contains("no --upstream"));
    let long = http.put(format!("{control}/rules")).body(vec![b' '; (4 << 20) + 1]).send().await;
    assert!(long.is_err() || long.unwrap().status() == 413);
    let counted = state(&http, &control).await;
    assert_eq!((&counted["requests"], &counted["changed"]), (&json!(5), &json!(4)));

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (url, _) = start(Some(gone), "[]").await;
    let answer = http.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(answer.text().await.unwrap().contains(&format!("connect to {gone}")));
}

#[test]
fn an_upstream_is_a_host_and_a_port() {
    let upstream = |text: &str| text.parse::<Upstream>().map(|upstream| upstream.authority);
    assert_eq!(upstream("http://127.0.0.1:28083").unwrap(), "127.0.0.1:28083");
    assert_eq!(upstream("http://[::1]:1/").unwrap(), "[::1]:1");
    assert_eq!(upstream("http://wallet").unwrap(), "wallet:80");
    for bad in ["https://a:1", "a:1", "http://a/json_rpc", "http://u:p@a", ""] {
        assert!(upstream(bad).is_err(), "{bad}");
    }
}
