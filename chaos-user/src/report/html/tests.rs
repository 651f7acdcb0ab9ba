use super::*;
use crate::report::sample::{Story, run};
use crate::report::{json, markdown, terminal};

fn page(story: Story) -> String {
    let (events, findings) = run(story);
    html(&events, &findings).unwrap()
}

/// The page without its style, a tag per line, so that a difference can be read.
fn lines(page: &str) -> String {
    page.replace(STYLE, "").replace("><", ">\n<")
}

#[test]
fn a_run_that_passed() {
    insta::assert_snapshot!(lines(&page(Story::Passed)));
}

#[test]
fn a_run_that_failed() {
    insta::assert_snapshot!(lines(&page(Story::Failed)));
}

#[test]
fn a_run_that_showed_nothing() {
    let page = page(Story::Inconclusive);
    assert!(page.contains("badge unsure"), "{page}");
    assert!(page.contains("<code>cut</code> hit nothing: 40 seen, none acted on"), "{page}");
}

#[test]
fn who_held_packets_and_how_long_is_in_every_report() {
    let (_, findings) = run(Story::Passed);
    let all = [
        (page(Story::Passed), "Held by: netem (chaosn7", "0.090 s"),
        (terminal(&findings), "held by: netem (chaosn7", "p99 90.000 ms"),
        (markdown(&findings), "`cut` were held by: netem (chaosn7", "| 0.090 s |"),
        (json(&findings).unwrap(), "\"held_by\": [", "\"p99_ns\": 90000000"),
    ];
    for (text, holder, time) in all {
        assert!(text.contains(holder) && text.contains(time), "{text}");
    }
}

#[test]
fn packets_that_were_held_too_short_are_inconclusive() {
    let (mut events, _) = run(Story::Passed);
    for event in &mut events {
        if let What::Healed(healed) = &mut event.event {
            healed.delays[0].p50_ns = Some(20_000);
        }
    }
    let findings = crate::verdict::judge(&events).unwrap();
    assert_eq!(findings.verdict, Verdict::Inconclusive, "{findings:#?}");
    assert!(findings.because.contains("held its packets for 0.020 ms"), "{}", findings.because);
}

#[test]
fn what_the_log_holds_is_text_and_nothing_is_loaded() {
    let page = page(Story::Failed);
    for bad in ["<script", "<img", "http-equiv=\"refresh\"", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_log_that_was_cut_off_still_makes_a_page() {
    let (events, _) = run(Story::Failed);
    for length in 1..=events.len() {
        let events = &events[..length];
        let findings = crate::verdict::judge(events).unwrap();
        let page = html(events, &findings).unwrap();
        assert!(page.ends_with("</html>\n") && !page.contains("NaN"), "after {length} events");
    }
    assert_eq!(html(&[], &run(Story::Passed).1), None);
}
