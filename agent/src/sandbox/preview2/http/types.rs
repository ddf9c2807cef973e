//! `wasi:http/types`: the library's own, each call for its price, with bounds on what a guest can make
//! them keep. What belongs to answering requests is never used: nothing here takes any.

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};
use wasmtime_wasi_http::{
    FieldMap, RequestOptions,
    p2::{
        HeaderError, HeaderResult, HttpError, HttpResult,
        bindings::http::types::{
            self, Duration, ErrorCode, HostFields, HostRequestOptions, Method, Scheme, StatusCode,
        },
        body::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody},
        types::{
            HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse,
            HostOutgoingRequest, HostOutgoingResponse, HostResponseOutparam,
        },
    },
};

use super::{super::library, bytes_of};
use crate::{profile::price, sandbox::Guest};

/// Most bytes of a request's path with its query.
const MAX_PATH_BYTES: usize = 16 << 10;

/// Most bytes of its host with its port, of its scheme, and of its method.
const MAX_WORD_BYTES: usize = 512;

type Fields = Resource<FieldMap>;
type Request = Resource<HostOutgoingRequest>;
type Response = Resource<HostIncomingResponse>;
type Answer<T> = wasmtime::Result<Result<T, ()>>;
type Got<T> = wasmtime::Result<Option<Result<Result<T, ErrorCode>, ()>>>;

impl types::Host for Guest {
    fn convert_error_code(&mut self, error: HttpError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn convert_header_error(&mut self, error: HeaderError) -> wasmtime::Result<types::HeaderError> {
        error.downcast()
    }

    library! { types::Host, http, price::CALL;
        http_error_code(error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>>;
    }
}

impl HostFields for Guest {
    fn from_list(&mut self, entries: Vec<(String, Vec<u8>)>) -> HeaderResult<Fields> {
        self.pay_for_fields(&entries);
        HostFields::from_list(&mut self.http(), entries)
    }

    fn get(&mut self, fields: Fields, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        self.pay_for_bytes(name.len());
        let values = HostFields::get(&mut self.http(), fields, name)?;
        self.pay_for_values(&values);
        Ok(values)
    }

    fn has(&mut self, fields: Fields, name: String) -> wasmtime::Result<bool> {
        self.pay_for_bytes(name.len());
        HostFields::has(&mut self.http(), fields, name)
    }

    fn set(&mut self, fields: Fields, name: String, values: Vec<Vec<u8>>) -> HeaderResult<()> {
        self.pay_for_bytes(name.len());
        self.pay_for_values(&values);
        HostFields::set(&mut self.http(), fields, name, values)
    }

    fn delete(&mut self, fields: Fields, name: String) -> HeaderResult<()> {
        self.pay_for_bytes(name.len());
        HostFields::delete(&mut self.http(), fields, name)
    }

    fn append(&mut self, fields: Fields, name: String, value: Vec<u8>) -> HeaderResult<()> {
        self.pay_for_bytes(name.len() + value.len());
        HostFields::append(&mut self.http(), fields, name, value)
    }

    fn entries(&mut self, fields: Fields) -> wasmtime::Result<Vec<(String, Vec<u8>)>> {
        let entries = HostFields::entries(&mut self.http(), fields)?;
        self.pay_for_fields(&entries);
        Ok(entries)
    }

    fn clone(&mut self, fields: Fields) -> wasmtime::Result<Fields> {
        // They are copied when first one of the two is changed, which costs no more than any change.
        let copied: &FieldMap = self.resources.table.get(&fields)?;
        let bytes = bytes_of(copied);
        let count = copied.len() as u64;
        self.pay_for_bytes(bytes);
        self.meter.charge(2 * count * price::BUFFER);
        HostFields::clone(&mut self.http(), fields)
    }

    library! { HostFields, http, price::CALL;
        new() -> wasmtime::Result<Fields>;
        drop(fields: Fields) -> wasmtime::Result<()>;
    }
}

impl types::HostOutgoingRequest for Guest {
    fn body(&mut self, this: Request) -> Answer<Resource<HostOutgoingBody>> {
        self.meter.charge(price::CALL);
        // Nobody would ever read it.
        if self.resources.network.is_none() {
            return Ok(Err(()));
        }
        types::HostOutgoingRequest::body(&mut self.http(), this)
    }

    fn set_method(&mut self, this: Request, method: Method) -> Answer<()> {
        let len = if let Method::Other(word) = &method { word.len() } else { 0 };
        self.pay_for_bytes(len);
        if len > MAX_WORD_BYTES {
            return Ok(Err(()));
        }
        types::HostOutgoingRequest::set_method(&mut self.http(), this, method)
    }

    fn set_path_with_query(&mut self, this: Request, path: Option<String>) -> Answer<()> {
        let len = path.as_ref().map_or(0, String::len);
        self.pay_for_bytes(len);
        if len > MAX_PATH_BYTES {
            return Ok(Err(()));
        }
        types::HostOutgoingRequest::set_path_with_query(&mut self.http(), this, path)
    }

    fn set_scheme(&mut self, this: Request, scheme: Option<Scheme>) -> Answer<()> {
        let len = if let Some(Scheme::Other(word)) = &scheme { word.len() } else { 0 };
        self.pay_for_bytes(len);
        if len > MAX_WORD_BYTES {
            return Ok(Err(()));
        }
        types::HostOutgoingRequest::set_scheme(&mut self.http(), this, scheme)
    }

    fn set_authority(&mut self, this: Request, authority: Option<String>) -> Answer<()> {
        let len = authority.as_ref().map_or(0, String::len);
        self.pay_for_bytes(len);
        if len > MAX_WORD_BYTES {
            return Ok(Err(()));
        }
        types::HostOutgoingRequest::set_authority(&mut self.http(), this, authority)
    }

    fn path_with_query(&mut self, this: Request) -> wasmtime::Result<Option<String>> {
        let path = types::HostOutgoingRequest::path_with_query(&mut self.http(), this)?;
        self.pay_for_bytes(path.as_ref().map_or(0, String::len));
        Ok(path)
    }

    library! { types::HostOutgoingRequest, http, price::CALL;
        new(fields: Fields) -> wasmtime::Result<Request>;
        method(this: Request) -> wasmtime::Result<Method>;
        scheme(this: Request) -> wasmtime::Result<Option<Scheme>>;
        authority(this: Request) -> wasmtime::Result<Option<String>>;
        headers(this: Request) -> wasmtime::Result<Fields>;
        drop(this: Request) -> wasmtime::Result<()>;
    }
}

impl HostRequestOptions for Guest {
    library! { HostRequestOptions, http, price::CALL;
        new() -> wasmtime::Result<Resource<RequestOptions>>;
        connect_timeout(this: Resource<RequestOptions>) -> wasmtime::Result<Option<Duration>>;
        set_connect_timeout(this: Resource<RequestOptions>, time: Option<Duration>) -> Answer<()>;
        first_byte_timeout(this: Resource<RequestOptions>) -> wasmtime::Result<Option<Duration>>;
        set_first_byte_timeout(this: Resource<RequestOptions>, time: Option<Duration>)
            -> Answer<()>;
        between_bytes_timeout(this: Resource<RequestOptions>) -> wasmtime::Result<Option<Duration>>;
        set_between_bytes_timeout(this: Resource<RequestOptions>, time: Option<Duration>)
            -> Answer<()>;
        drop(this: Resource<RequestOptions>) -> wasmtime::Result<()>;
    }
}

impl types::HostOutgoingBody for Guest {
    library! { types::HostOutgoingBody, http, price::CALL;
        write(this: Resource<HostOutgoingBody>) -> Answer<Resource<DynOutputStream>>;
        finish(this: Resource<HostOutgoingBody>, trailers: Option<Fields>) -> HttpResult<()>;
        drop(this: Resource<HostOutgoingBody>) -> wasmtime::Result<()>;
    }
}

impl types::HostFutureIncomingResponse for Guest {
    library! { types::HostFutureIncomingResponse, http, price::SOCKET_CALL;
        subscribe(this: Resource<HostFutureIncomingResponse>)
            -> wasmtime::Result<Resource<DynPollable>>;
        get(this: Resource<HostFutureIncomingResponse>) -> Got<Response>;
        drop(this: Resource<HostFutureIncomingResponse>) -> wasmtime::Result<()>;
    }
}

impl types::HostIncomingResponse for Guest {
    library! { types::HostIncomingResponse, http, price::CALL;
        status(this: Response) -> wasmtime::Result<StatusCode>;
        headers(this: Response) -> wasmtime::Result<Fields>;
        consume(this: Response) -> Answer<Resource<HostIncomingBody>>;
        drop(this: Response) -> wasmtime::Result<()>;
    }
}

impl types::HostIncomingBody for Guest {
    library! { types::HostIncomingBody, http, price::SOCKET_CALL;
        stream(this: Resource<HostIncomingBody>) -> Answer<Resource<DynInputStream>>;
        finish(this: Resource<HostIncomingBody>) -> wasmtime::Result<Resource<HostFutureTrailers>>;
        drop(this: Resource<HostIncomingBody>) -> wasmtime::Result<()>;
    }
}

impl types::HostFutureTrailers for Guest {
    library! { types::HostFutureTrailers, http, price::SOCKET_CALL;
        subscribe(this: Resource<HostFutureTrailers>) -> wasmtime::Result<Resource<DynPollable>>;
        get(this: Resource<HostFutureTrailers>) -> Got<Option<Fields>>;
        drop(this: Resource<HostFutureTrailers>) -> wasmtime::Result<()>;
    }
}

impl types::HostIncomingRequest for Guest {
    library! { types::HostIncomingRequest, http, price::CALL;
        method(this: Resource<HostIncomingRequest>) -> wasmtime::Result<Method>;
        path_with_query(this: Resource<HostIncomingRequest>) -> wasmtime::Result<Option<String>>;
        scheme(this: Resource<HostIncomingRequest>) -> wasmtime::Result<Option<Scheme>>;
        authority(this: Resource<HostIncomingRequest>) -> wasmtime::Result<Option<String>>;
        headers(this: Resource<HostIncomingRequest>) -> wasmtime::Result<Fields>;
        consume(this: Resource<HostIncomingRequest>) -> Answer<Resource<HostIncomingBody>>;
        drop(this: Resource<HostIncomingRequest>) -> wasmtime::Result<()>;
    }
}

impl types::HostOutgoingResponse for Guest {
    fn body(&mut self, _: Resource<HostOutgoingResponse>) -> Answer<Resource<HostOutgoingBody>> {
        self.meter.charge(price::CALL);
        // Nobody would ever read it.
        Ok(Err(()))
    }

    library! { types::HostOutgoingResponse, http, price::CALL;
        new(fields: Fields) -> wasmtime::Result<Resource<HostOutgoingResponse>>;
        status_code(this: Resource<HostOutgoingResponse>) -> wasmtime::Result<StatusCode>;
        set_status_code(this: Resource<HostOutgoingResponse>, status: StatusCode) -> Answer<()>;
        headers(this: Resource<HostOutgoingResponse>) -> wasmtime::Result<Fields>;
        drop(this: Resource<HostOutgoingResponse>) -> wasmtime::Result<()>;
    }
}

impl types::HostResponseOutparam for Guest {
    library! { types::HostResponseOutparam, http, price::CALL;
        set(
            this: Resource<HostResponseOutparam>,
            response: Result<Resource<HostOutgoingResponse>, ErrorCode>
        ) -> wasmtime::Result<()>;
        send_informational(this: Resource<HostResponseOutparam>, status: u16, fields: Fields)
            -> HttpResult<()>;
        drop(this: Resource<HostResponseOutparam>) -> wasmtime::Result<()>;
    }
}

impl Guest {
    fn pay_for_bytes(&mut self, bytes: usize) {
        self.meter.charge(price::CALL + price::copied(bytes));
    }

    fn pay_for_values(&mut self, values: &[Vec<u8>]) {
        let bytes = values.iter().map(Vec::len).sum();
        self.meter.charge(values.len() as u64 * price::BUFFER + price::copied(bytes));
    }

    fn pay_for_fields(&mut self, fields: &[(String, Vec<u8>)]) {
        let bytes = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.pay_for_bytes(bytes);
        self.meter.charge(2 * fields.len() as u64 * price::BUFFER);
    }
}
