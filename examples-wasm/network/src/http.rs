//! Requests of HTTP.

use wasip2::{
    http::{
        outgoing_handler,
        types::{
            Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
        },
    },
    io::streams::StreamError,
};

/// Returns the status of the answer, and its body.
pub(crate) fn get(url: &str) -> Result<String, String> {
    let request = request(url, &Method::Get)?;
    answer(&send(request)?)
}

/// Sends a text, as one body.
pub(crate) fn post(url: &str, text: &str) -> Result<String, String> {
    let request = request(url, &Method::Post)?;
    let body = request.body().map_err(|()| "no body".to_owned())?;
    let sent = {
        let stream = body.write().map_err(|()| "no stream".to_owned())?;
        // The body is only read once the request is under way, and the stream keeps little.
        let answer = outgoing_handler::handle(request, None).map_err(|code| code.to_string())?;
        for part in text.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(part).map_err(|_| "cannot write".to_owned())?;
        }
        answer
    };
    OutgoingBody::finish(body, None).map_err(|code| code.to_string())?;
    sent.subscribe().block();
    let response = sent.get().ok_or("not ready")?.map_err(|()| "taken")?;
    answer(&response.map_err(|code| code.to_string())?)
}

fn request(url: &str, method: &Method) -> Result<OutgoingRequest, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_method(method)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| format!("{url:?} is no address"))?;
    Ok(request)
}

fn send(request: OutgoingRequest) -> Result<IncomingResponse, String> {
    let sent = outgoing_handler::handle(request, None).map_err(|code| code.to_string())?;
    sent.subscribe().block();
    let response = sent.get().ok_or("not ready")?.map_err(|()| "taken")?;
    response.map_err(|code| code.to_string())
}

fn answer(response: &IncomingResponse) -> Result<String, String> {
    let body = response.consume().map_err(|()| "no body".to_owned())?;
    Ok(format!("{} {}", response.status(), text(&body)?))
}

fn text(body: &IncomingBody) -> Result<String, String> {
    let stream = body.stream().map_err(|()| "no stream".to_owned())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(65_536) {
            Ok(part) => bytes.extend(part),
            Err(StreamError::Closed) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}
