//! A module of any size, all of it code: text of that length would take longer to parse than to
//! compile.

/// Rounds of arithmetic and loads in each function.
const ROUNDS: u32 = 60;

/// A module of about so many bytes, whose `_start` does nothing.
pub(super) fn module(bytes: usize) -> Vec<u8> {
    let body = function(0).len();
    let count = (bytes / body) as u32;
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // (func (param i32) (result i32)) and (func).
    section(&mut module, 1, &[2, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 0, 0]);
    let mut types = number(count + 1);
    types.extend(std::iter::repeat_n(0, count as usize));
    types.push(1);
    section(&mut module, 3, &types);
    section(&mut module, 5, &[1, 0, 1]);
    let mut exports = vec![2, 6];
    exports.extend(b"memory\x02\0\x06_start\0");
    exports.extend(number(count));
    section(&mut module, 7, &exports);
    let mut code = number(count + 1);
    (0..count).for_each(|index| code.extend(function(index)));
    code.extend([2, 0, 0x0b]);
    section(&mut module, 10, &code);
    module
}

/// Computes something of its argument and what is in memory, like no other function.
fn function(index: u32) -> Vec<u8> {
    // One local beside the argument, an i32.
    let mut body = vec![1, 1, 0x7f];
    for round in 0..ROUNDS {
        // local.get 0, i32.const
        body.extend([0x20, 0, 0x41]);
        // Of five bytes, and positive, whichever it is.
        body.extend(number(0x1000_0000 | (index * ROUNDS + round)));
        // i32.xor, local.tee 0, i32.load, local.set 1, local.get 1, local.get 0, i32.add, local.set 0
        body.extend([0x73, 0x22, 0, 0x28, 2, round as u8, 0x21, 1]);
        body.extend([0x20, 1, 0x20, 0, 0x6a, 0x21, 0]);
    }
    // local.get 0, end
    body.extend([0x20, 0, 0x0b]);
    let mut function = number(body.len() as u32);
    function.extend(body);
    function
}

fn section(module: &mut Vec<u8>, id: u8, content: &[u8]) {
    module.push(id);
    module.extend(number(content.len() as u32));
    module.extend(content);
}

/// LEB128.
fn number(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
