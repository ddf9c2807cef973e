//! Numbers and names of a job file that have a notation of their own: fuel, sizes, times, cores.
//!
//! Each says how it is read and what its JSON Schema is. Files and patterns are in `sources.rs`.

use schemars::json_schema;
use weir_proto::{
    capability::{Capability, MalformedCapability},
    id::Namespace,
    job::{MAX_NAME_BYTES, MAX_TASKS},
    limits::MIN_CPU_MILLIS,
    malformed::Malformed,
    metering::Metering,
    units::{parse_bytes, parse_count, parse_duration},
};

use super::{
    problem::quoted,
    reader::{Problems, Read, Value},
};

/// Gives types schemas that are written out, in place.
macro_rules! schema {
    ($(($($generics:tt)*) $type:ty: $schema:expr;)*) => {$(
        impl $($generics)* schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    )*};
}

pub(super) use schema;

/// Most cores that a task may ask for.
const MAX_CORES: u32 = 1000;

/// Counted instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuel(pub u64);

/// Bytes, above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// Milliseconds, above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub u64);

/// Thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores(pub u32);

/// The name of a job or stage, as the cluster takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceName(pub Namespace);

/// How many tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskCount(pub u32);

/// Something that tasks may do beyond computing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityWord(pub Capability);

/// How what tasks use is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeteringWord(pub Metering);

/// An integer from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int<const MIN: i64, const MAX: i64>(pub i64);

impl Read for Fuel {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Fuel> {
        amount(value, parse_count, "a count such as \"5G\"", "\"5G\"", problems).map(Fuel)
    }
}

impl Read for Size {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Size> {
        amount(value, parse_bytes, "a size such as \"64MiB\"", "\"64MiB\"", problems).map(Size)
    }
}

impl Read for Time {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Time> {
        let wanted = "a time such as \"10m\"";
        if let Some(number) = value.toml.as_integer() {
            let message = format!("{} has no unit", value.called());
            let hint = format!(
                "add the unit: {} is seconds; ms, s, m, h and d are known",
                value.written(&format!("\"{number}s\""))
            );
            problems.error(&value.span, message, hint);
            return None;
        }
        let parse = |text: &str| {
            let time = parse_duration(text)?;
            Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        };
        let Some(text) = value.toml.as_str() else {
            value.not(wanted, "\"10m\"", problems);
            return None;
        };
        above_zero(value, text, parse(text), "\"10m\"", problems).map(Time)
    }
}

/// An integer or a string with a unit, above 0.
fn amount(
    value: &Value<'_>,
    parse: impl Fn(&str) -> Result<u64, Malformed>,
    wanted: &str,
    example: &str,
    problems: &mut Problems<'_>,
) -> Option<u64> {
    if let Some(text) = value.toml.as_str() {
        return above_zero(value, text, parse(text), example, problems);
    }
    if value.toml.as_integer().is_none() {
        value.not(wanted, example, problems);
        return None;
    }
    let number = value.integer(i128::MIN..=i128::MAX, example, problems)?;
    match u64::try_from(number) {
        Ok(amount @ 1..) => Some(amount),
        _ => {
            let message = format!("{} is `{number}`; it must be above 0", value.called());
            problems.error(
                &value.span,
                message,
                format!("write it like {}", value.written(example)),
            );
            None
        }
    }
}

fn above_zero(
    value: &Value<'_>,
    text: &str,
    parsed: Result<u64, Malformed>,
    example: &str,
    problems: &mut Problems<'_>,
) -> Option<u64> {
    let like = format!("write it like {}", value.written(example));
    match parsed {
        Ok(0) => {
            let message = format!("{} is {}; it must be above 0", value.called(), quoted(text));
            problems.error(&value.span, message, like);
            None
        }
        Ok(amount) => Some(amount),
        Err(Malformed::Invalid { what, why }) => {
            // The amount is written well, or it is none.
            let wrong = if why.contains("does not fit") { "too large a" } else { "not a" };
            let message =
                format!("{} is {}, which is {wrong} {what}", value.called(), quoted(text));
            problems.error(&value.span, message, like);
            None
        }
        Err(other) => {
            problems.error(&value.span, other.to_string(), like);
            None
        }
    }
}

impl Read for Cores {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Cores> {
        let toml = value.toml;
        let text = match (toml.as_integer(), toml.as_float(), toml.as_str()) {
            (Some(cores), _, _) => cores.to_string().replace('_', ""),
            (_, Some(cores), _) => cores.as_str().replace('_', ""),
            (_, _, Some(text)) => text.trim().to_owned(),
            (None, None, None) => {
                value.not("a number of cores", "0.5", problems);
                return None;
            }
        };
        let millis = match text.strip_suffix('m') {
            Some(millis) => millis.trim().parse::<f64>().ok(),
            None => text.parse::<f64>().ok().map(|cores| cores * 1000.0),
        };
        let range = f64::from(MIN_CPU_MILLIS)..=f64::from(MAX_CORES * 1000);
        match millis {
            // A number in this range fits.
            Some(millis) if range.contains(&millis) => Some(Cores(millis.round() as u32)),
            Some(_) => {
                let least = f64::from(MIN_CPU_MILLIS) / 1000.0;
                let message = format!(
                    "{} is {}; it must be {least} to {MAX_CORES} cores",
                    value.called(),
                    quoted(&text)
                );
                let hint = "a task of 0.5 cores shares a core with another; \"500m\" is the same";
                problems.error(&value.span, message, hint);
                None
            }
            None => {
                let message =
                    format!("{} is {}, which is no number of cores", value.called(), quoted(&text));
                let hint = format!(
                    "write {}, {} or {}",
                    value.written("2"),
                    value.written("0.5"),
                    value.written("\"500m\"")
                );
                problems.error(&value.span, message, hint);
                None
            }
        }
    }
}

impl Read for Name {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Name> {
        let name = value.string("\"tiles\"", problems)?;
        let why = if name.is_empty() {
            "is empty".to_owned()
        } else if name.len() > MAX_NAME_BYTES {
            format!("has {} bytes", name.len())
        } else if name.contains('/') {
            "contains `/`".to_owned()
        } else if name.chars().any(char::is_control) {
            "contains a control character".to_owned()
        } else {
            return Some(Name(name.to_owned()));
        };
        let hint =
            format!("a name has 1 to {MAX_NAME_BYTES} bytes, without `/` and control characters");
        problems.error(&value.span, format!("{} {why}", value.called()), hint);
        None
    }
}

impl Read for NamespaceName {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<NamespaceName> {
        let text = value.string("\"default\"", problems)?;
        let parsed = text.parse().map(NamespaceName).ok();
        if parsed.is_none() {
            let message = format!("{} cannot be {}", value.called(), quoted(text));
            let hint = "a namespace is 1 to 64 of a-z, 0-9, `-` and `_`, and begins with a letter \
                        or digit";
            problems.error(&value.span, message, hint);
        }
        parsed
    }
}

impl Read for TaskCount {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<TaskCount> {
        let count = value.integer(1..=i128::from(MAX_TASKS), "100", problems)?;
        u32::try_from(count).ok().map(TaskCount)
    }
}

impl Read for CapabilityWord {
    const LIST: &'static str = "[\"clock\"]";

    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<CapabilityWord> {
        let word = value.string("\"clock\"", problems)?;
        match word.parse() {
            Ok(capability) => Some(CapabilityWord(capability)),
            Err(malformed) => {
                let (message, hint) = match malformed {
                    MalformedCapability::Unknown { .. } => (
                        format!("{} is no capability", quoted(word)),
                        "there are `clock`, `random` and `net:HOST:PORT`",
                    ),
                    other => (other.to_string(), "such as \"net:example.org:443\"; `*` is any"),
                };
                problems.error(&value.span, message, hint);
                None
            }
        }
    }
}

impl Read for MeteringWord {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<MeteringWord> {
        let word = value.string("\"epoch\"", problems)?;
        let metering = word.parse();
        if metering.is_err() {
            let message = format!("{} is no way to meter", quoted(word));
            problems.error(&value.span, message, "there are `fuel` and `epoch`");
        }
        metering.ok().map(MeteringWord)
    }
}

impl<const MIN: i64, const MAX: i64> Read for Int<MIN, MAX> {
    const LIST: &'static str = "[3, 77]";

    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Int<MIN, MAX>> {
        let example = MIN.max(3).min(MAX).to_string();
        let number = value.integer(i128::from(MIN)..=i128::from(MAX), &example, problems)?;
        i64::try_from(number).ok().map(Int)
    }
}

schema! {
    () Fuel: json_schema!({
        "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 1 }],
        "examples": ["5G", "200M", 200_000],
    });
    () Size: json_schema!({
        "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 1 }],
        "examples": ["256MiB", "1.5G", 65536],
    });
    () Time: json_schema!({ "type": "string", "examples": ["10m", "1m30s", "250ms"] });
    () Cores: json_schema!({
        "anyOf": [
            {
                "type": "number",
                "minimum": f64::from(MIN_CPU_MILLIS) / 1000.0,
                "maximum": MAX_CORES,
            },
            { "type": "string", "pattern": "^\\s*[0-9.]+\\s*m?\\s*$" },
        ],
        "examples": [0.5, 2, "500m"],
    });
    () Name: json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_BYTES,
        "pattern": "^[^/]*$",
    });
    () NamespaceName: json_schema!({
        "type": "string",
        "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$",
    });
    () CapabilityWord: json_schema!({
        "type": "string",
        "pattern": "^(clock|random|net:.+:(\\*|[0-9]+))$",
        "examples": ["clock", "random", "net:example.org:443"],
    });
    () MeteringWord: json_schema!({
        "type": "string",
        "enum": Metering::ALL.map(Metering::word),
    });
    () TaskCount: json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX_TASKS });
    (<const MIN: i64, const MAX: i64>) Int<MIN, MAX>: json_schema!({
        "type": "integer",
        "minimum": MIN,
        "maximum": MAX,
    });
}
