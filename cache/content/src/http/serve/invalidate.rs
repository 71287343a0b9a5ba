//! What a successful unsafe request makes useless (RFC 9111 section 4.4; R-58).

use crate::ResourceUrl;
use ::http::header::{CONTENT_LOCATION, HeaderMap, LOCATION};

/// The URLs whose stored answers are not to be used any more after `url` was asked with a method that is not known to be safe and
/// answered with `status` and these fields. Another origin's are never touched (RFC 9111 section 4.4).
#[must_use]
pub fn invalidated(url: &ResourceUrl, status: u16, answer: &HeaderMap) -> Vec<ResourceUrl> {
    if !(200..400).contains(&status) {
        return Vec::new();
    }
    let named = [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| {
        let text = answer.get(name)?.to_str().ok()?;
        url.join(text).ok().filter(|other| other.origin() == url.origin())
    });
    std::iter::once(url.clone()).chain(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;

    #[test]
    fn success_invalidates_its_url_and_those_that_it_names_at_the_same_origin() {
        let url = ResourceUrl::parse("http://h/a/b").expect("parses");
        let fields = [("location", "/c"), ("content-location", "http://other/d")];
        let texts = |status| {
            let found = invalidated(&url, status, &head(status, &fields).headers);
            found.iter().map(|url| url.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(201), ["http://h/a/b", "http://h/c"]);
        assert!(texts(500).is_empty() && texts(404).is_empty());
    }
}
