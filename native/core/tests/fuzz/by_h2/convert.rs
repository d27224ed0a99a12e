//! Header lists, ours to the `http` crate's and back.

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use proxyless_core::http2::Headers;

pub fn map<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> HeaderMap {
    fields
        .filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
        })
        .collect()
}

pub fn request(template: &Headers, extra: &Headers) -> Option<Request<()>> {
    let text = |name| template.get(name).and_then(|value| std::str::from_utf8(value).ok());
    let uri = http::Uri::builder()
        .scheme(text(":scheme")?)
        .authority(text(":authority")?)
        .path_and_query(text(":path")?)
        .build()
        .ok()?;
    let mut request = Request::new(());
    *request.method_mut() = text(":method")?.parse().ok()?;
    *request.uri_mut() = uri;
    *request.headers_mut() = map(template.fields().chain(extra.fields()));
    Some(request)
}

pub fn headers(map: &HeaderMap, mut headers: Headers) -> Headers {
    map.iter().for_each(|(name, value)| headers.push(name.as_str(), value.as_bytes()));
    headers
}

pub fn request_headers(parts: &http::request::Parts) -> Headers {
    let mut pseudo = Headers::new();
    pseudo.push(":method", parts.method.as_str());
    pseudo.push(":path", parts.uri.path());
    if let Some(authority) = parts.uri.authority() {
        pseudo.push(":authority", authority.as_str());
    }
    headers(&parts.headers, pseudo)
}

pub fn response_headers(parts: &http::response::Parts) -> Headers {
    let mut pseudo = Headers::new();
    pseudo.push(":status", parts.status.as_str());
    headers(&parts.headers, pseudo)
}
