//! The pages of a list.

use net::http::header::{HeaderMap, LINK};
use url::{Url, form_urlencoded};

/// The page after the one at `here`, by its answer's headers: `here` with another query.
///
/// Source: GitLab, "REST API", pagination; RFC 8288.
pub(crate) fn next(headers: &HeaderMap, here: &Url) -> Option<Url> {
    let mut url = here.clone();
    if let Some(query) = linked(headers, here) {
        url.set_query(Some(&query));
        return Some(url);
    }
    // With very long lists GitLab leaves out some headers, but never both of these.
    let number = headers.get("x-next-page")?.to_str().ok()?;
    let number: u32 = number.trim().parse().ok()?;
    let kept = here.query_pairs().filter(|(key, _)| key != "page");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("page", &number.to_string())
        .finish();
    url.set_query(Some(&query));
    Some(url)
}

/// The query of the link to the next page.
fn linked(headers: &HeaderMap, here: &Url) -> Option<String> {
    let links = headers.get_all(LINK).iter();
    let links = links.filter_map(|links| links.to_str().ok());
    links.flat_map(|links| links.split(',')).find_map(|link| {
        let (url, about) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = about.split(';').any(|part| {
            let part = part.trim();
            part.eq_ignore_ascii_case("rel=\"next\"") || part.eq_ignore_ascii_case("rel=next")
        });
        let url = here.join(url).ok().filter(|_| is_next)?;
        url.query().map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use net::http::header::{HeaderName, HeaderValue};

    use super::*;

    const HERE: &str =
        "https://git.example/api/v4/projects/1/pipelines?status=running&per_page=100";

    fn after(headers: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        let next = next(&headers.collect(), &Url::parse(HERE).unwrap());
        next.map(String::from)
    }

    #[test]
    fn the_next_page_is_found_in_both_ways_and_always_at_our_own_url() {
        let link = |url: &str| format!("<{HERE}&page=1>; rel=\"first\", <{url}>; rel=\"next\"");
        let expected = Some(format!("{HERE}&page=2"));

        assert_eq!(
            after(&[("link", &link(&format!("{HERE}&page=2")))]),
            expected
        );
        assert_eq!(after(&[("x-next-page", "2")]), expected);
        let elsewhere = HERE.replace("git.example", "evil.example") + "&page=2";
        assert_eq!(after(&[("link", &link(&elsewhere))]), expected);
        for headers in [
            [("link", "<https://h/?page=2>; rel=\"prev\"")],
            [("link", "nonsense")],
            [("x-next-page", "")],
            [("x-next-page", "soon")],
        ] {
            assert_eq!(after(&headers), None, "{headers:?}");
        }
    }
}
