//! Every refusal as problem+json (RFC 9457), also those that the HTTP layer itself makes.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eddy_wire::api::{MAX_BODY, PROBLEM_MEDIA_TYPE, Problem};
use eddy_wire::catalogue::ErrorCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A problem on its way out.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self(code.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        response
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::RequestTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
            _ => ErrorCode::BadRequest,
        };
        Self(Problem::new(code, rejection.body_text()))
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self(Problem::new(ErrorCode::BadRequest, rejection.body_text()))
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self(Problem::new(ErrorCode::BadRequest, rejection.body_text()))
    }
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Serialize, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        // What says that it is too large is refused before it is read; what does not say so is cut by the body limit.
        let length =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > MAX_BODY) {
            return Err(ErrorCode::RequestTooLarge.into());
        }
        let is_json = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !is_json.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json")) {
            return Err(ErrorCode::UnsupportedMediaType.into());
        }
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|rejection| {
            let is_long = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            Problem::new(
                if is_long { ErrorCode::RequestTooLarge } else { ErrorCode::BadRequest },
                rejection.body_text(),
            )
        })?;
        let Json(value) = Json::<T>::from_bytes(&bytes)?;
        let (given, meant) = (serde_json::from_slice(&bytes), serde_json::to_value(&value));
        if let (Ok(given), Ok(meant)) = (given, meant)
            && is_list_for_object(&given, &meant)
        {
            return Err(Problem::new(ErrorCode::BadRequest, "there is a list where an object belongs").into());
        }
        Ok(Self(value))
    }
}

/// Whether somewhere a list was given and an object was understood: serde takes one for an object whose fields come in the order in
/// which the program has them, which nobody can know.
fn is_list_for_object(given: &Value, meant: &Value) -> bool {
    match (given, meant) {
        (Value::Array(_), Value::Object(_)) => true,
        (Value::Array(given), Value::Array(meant)) => given.iter().zip(meant).any(|(g, m)| is_list_for_object(g, m)),
        (Value::Object(given), Value::Object(meant)) => {
            given.iter().any(|(key, g)| meant.get(key).is_some_and(|m| is_list_for_object(g, m)))
        }
        _ => false,
    }
}

/// A query string.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(value) = Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// The id in a path.
pub(super) struct Id(pub(super) String);

/// The cursor behind which a stream of events begins: where a broken one stopped, or what the query says.
pub(super) struct LastEvent(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for LastEvent {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let value = parts.headers.get("last-event-id").and_then(|value| value.to_str().ok());
        Ok(Self(value.map(str::to_owned)))
    }
}

/// The idempotency key of a request, if it has one.
pub(super) struct Key(pub(super) Option<String>);

/// Characters of the longest idempotency key.
const MAX_KEY: usize = 255;

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let text = value.to_str().ok().filter(|text| (1..=MAX_KEY).contains(&text.len()));
        let bad = || Problem::new(ErrorCode::BadRequest, "an idempotency key has 1 to 255 visible characters");
        Ok(Self(Some(text.ok_or_else(bad)?.to_owned())))
    }
}

/// Characters of the longest id that is looked up; no id of eddy's is longer.
const MAX_ID: usize = 128;

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(id) = Path::<String>::from_request_parts(parts, state).await?;
        if id.len() > MAX_ID {
            return Err(Refusal(Problem::new(ErrorCode::TooLong, format!("an id has at most {MAX_ID} characters"))));
        }
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_no_object_wherever_it_stands() {
        let meant = json!({"a": {"b": 1}, "c": [{"d": 2}], "e": [1, 2]});
        for given in [json!([[1], [[2]]]), json!({"a": [1]}), json!({"c": [[2]]})] {
            assert!(is_list_for_object(&given, &meant), "{given}");
        }
        for given in [json!({"a": {"b": 1}, "c": [{"d": 2}], "e": [1, 2]}), json!({"unknown": [1]}), json!({"c": []})] {
            assert!(!is_list_for_object(&given, &meant), "{given}");
        }
    }
}
