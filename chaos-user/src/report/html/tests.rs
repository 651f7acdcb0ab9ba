use super::*;
use crate::report::sample::{Story, run};

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
