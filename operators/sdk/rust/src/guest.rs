//! The border: what the exports of [`operator!`](crate::operator) do. Not for operators to use.

use std::cell::UnsafeCell;
use std::slice;

use crate::batch::Batch;
use crate::config::Value;
use crate::error::{Cause, Error, Result};
use crate::output::{Made, Output};
use crate::schema::{Field, Schema};
use crate::types::Type;
use crate::Operator;

pub const ABI: u32 = 1;
const PAGE: u32 = 64 << 10;
const FULL: u32 = 1;
const NULLABLE: i64 = 2;

/// An ArrowSchema of the Arrow C data interface as wasm32 lays it out: pointers are 32 bits wide.
#[repr(C)]
#[derive(Default)]
struct ArrowSchema {
    format: u32,
    name: u32,
    metadata: u32,
    flags: i64,
    n_children: i64,
    children: u32,
    dictionary: u32,
    release: u32,
    private: u32,
}

/// An ArrowArray, likewise.
#[repr(C)]
#[derive(Default)]
pub struct Array {
    length: i64,
    pub(crate) null_count: i64,
    offset: i64,
    pub(crate) n_buffers: i64,
    pub(crate) n_children: i64,
    pub(crate) buffers: u32,
    pub(crate) children: u32,
    dictionary: u32,
    release: u32,
    private: u32,
}

impl Array {
    pub(crate) fn length(&self) -> i64 {
        self.length
    }
}

/// What is at an address.
pub(crate) fn at<T>(address: u32) -> *const T {
    address as usize as *const T
}

/// The address of something; memory has 32 bits of them.
pub(crate) fn address<T: ?Sized>(p: *const T) -> u32 {
    p as *const u8 as usize as u32
}

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "weir")]
    extern "C" {
        pub fn log(level: i32, text: *const u8, len: usize);
        pub fn error(text: *const u8, len: usize);
    }

    pub fn grow(pages: u32) -> Option<u32> {
        match core::arch::wasm32::memory_grow(0, pages as usize) {
            usize::MAX => None,
            first => Some(first as u32),
        }
    }
}

/// So that the crate can be checked, documented and tested where there is no host.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    pub unsafe fn log(_: i32, _: *const u8, _: usize) {}
    pub unsafe fn error(_: *const u8, _: usize) {}
    pub fn grow(_: u32) -> Option<u32> {
        None
    }
}

#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
pub(crate) fn grow(pages: u32) -> Option<u32> {
    host::grow(pages)
}

pub(crate) fn log(level: i32, text: &str) {
    unsafe { host::log(level, text.as_ptr(), text.len()) }
}

pub(crate) fn fail(why: &str) -> u32 {
    unsafe { host::error(why.as_ptr(), why.len()) }
    0
}

/// New pages, which nobody else uses: the allocator takes only those that it asked for itself.
pub fn alloc(size: u32) -> u32 {
    grow(size / PAGE + u32::from(size % PAGE != 0)).map_or(0, |page| page * PAGE)
}

/// Where the operator lives. Calls never overlap, and there are no threads.
pub struct Slot<T>(pub(crate) UnsafeCell<Option<Guest<T>>>);

unsafe impl<T> Sync for Slot<T> {}

pub(crate) struct Guest<T> {
    pub(crate) operator: T,
    plan: Plan,
}

/// What does not depend on the operator, and what the host looks at.
pub(crate) struct Plan {
    pub(crate) columns: Vec<Made>,
    pub(crate) result: Box<Array>,
    arrays: Vec<Array>,
    buffers: Vec<[u32; 3]>,
    items: Vec<Items>,
    schema: SchemaMemory,
    _pointers: [Vec<u32>; 2], // of arrays, and the buffers of the batch
}

/// The array of the items of a list column, and what the host finds it by.
struct Items {
    array: Box<Array>,
    buffers: Box<[u32; 3]>,
    child: Box<u32>,
}

impl Items {
    fn new(field: &Field) -> Items {
        let buffers = Box::new([0; 3]);
        let text = field.kind.item().map_or(false, Type::is_text);
        let array = Box::new(Array {
            n_buffers: if text { 3 } else { 2 },
            buffers: address(buffers.as_ptr()),
            ..Array::default()
        });
        let child = Box::new(address::<Array>(&*array));
        Items { array, buffers, child }
    }
}

struct SchemaMemory {
    root: Box<ArrowSchema>,
    _children: Vec<ArrowSchema>,
    _items: Vec<(Box<ArrowSchema>, Box<u32>)>,
    _pointers: Vec<u32>,
    _text: Vec<Vec<u8>>,
}

impl<T: Operator> Slot<T> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Slot<T> {
        Slot(UnsafeCell::new(None))
    }

    /// Safety: called by the host alone, with what the ABI says.
    pub unsafe fn open(&self, config: u32, len: u32, schema: u32) -> u32 {
        report_panics();
        let config = std::str::from_utf8(slice::from_raw_parts(at(config), len as usize)).unwrap_or("");
        match Guest::<T>::open(Value::new(config), schema) {
            Ok(guest) => {
                let guest = (*self.0.get()).insert(guest);
                guest.plan.schema()
            }
            Err(e) => fail(e.message()),
        }
    }

    /// Safety: called by the host alone, with what the ABI says.
    pub unsafe fn process(&self, array: u32, out: u32, room: u32) -> u32 {
        let guest = match &mut *self.0.get() {
            Some(guest) => guest,
            None => return fail("called before weir_open"),
        };
        match guest.process(array, out, room) {
            Ok(()) => address::<Array>(&*guest.plan.result),
            Err(Error(Cause::Full)) => FULL,
            Err(Error(Cause::Text(why))) => fail(&why),
        }
    }
}

/// Gives the host the message of a panic.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload().downcast_ref::<&str>().copied();
        let text = text.or_else(|| info.payload().downcast_ref::<String>().map(|s| &**s)).unwrap_or("");
        let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
        fail(&["panic: ", text, " at ", file, ":", decimal(line, &mut [0; 10])].concat());
    }));
}

impl<T: Operator> Guest<T> {
    unsafe fn open(config: Value, schema: u32) -> Result<Guest<T>> {
        let (input, rows) = read_schema(schema)?;
        let (operator, output) = T::open(config, &input)?;
        Ok(Guest { operator, plan: Plan::new(output, rows) })
    }

    unsafe fn process(&mut self, array: u32, out: u32, room: u32) -> Result<()> {
        let batch = Batch::new(array);
        let mut output = Output::new(&batch, &self.plan.columns, out as usize as *mut u8, room as usize);
        self.operator.process(&batch, &mut output)?;
        let rows = output.rows();
        self.plan.finish(&batch, rows)
    }
}

impl Plan {
    #[inline(never)]
    pub(crate) fn new(output: Schema, row: Field) -> Plan {
        let keeps_rows = output.keeps_rows;
        let mut fields = output.into_fields();
        if keeps_rows {
            fields.push(row);
        }
        let n = fields.len();
        let columns = fields.iter().map(Made::new).collect();
        let buffers = vec![[0; 3]; n];
        let items = fields.iter().map(Items::new).collect();
        let array = |(f, b): (&Field, &[u32; 3])| Array {
            n_buffers: if f.kind.is_text() { 3 } else { 2 },
            n_children: i64::from(f.kind.item().is_some()),
            buffers: address(b.as_ptr()),
            ..Array::default()
        };
        let arrays: Vec<Array> = fields.iter().zip(&buffers).map(array).collect();
        let children: Vec<u32> = arrays.iter().map(|a| address::<Array>(a)).collect();
        let validity = vec![0];
        let result = Box::new(Array {
            n_buffers: 1,
            buffers: address(validity.as_ptr()),
            n_children: n as i64,
            children: address(children.as_ptr()),
            ..Array::default()
        });
        Plan { columns, result, arrays, buffers, items, schema: SchemaMemory::new(&fields), _pointers: [children, validity] }
    }

    /// The address of the schema.
    pub(crate) fn schema(&self) -> u32 {
        address::<ArrowSchema>(&*self.schema.root)
    }

    #[inline(never)]
    pub(crate) fn finish(&mut self, batch: &Batch, rows: usize) -> Result<()> {
        for (o, c) in self.columns.iter().enumerate() {
            let (a, b) = (&mut self.arrays[o], &mut self.buffers[o]);
            a.length = rows as i64;
            if c.made.get() {
                if c.rows.get() != rows {
                    return Err(Error::new("an output column has another number of rows than the output"));
                }
                a.null_count = if c.validity.get() == 0 { 0 } else { -1 };
                *b = [c.validity.get(), c.values.get(), 0];
                if c.kind.is_text() {
                    *b = [c.validity.get(), c.offsets.get(), c.values.get()];
                }
                if let Some(item) = c.kind.item() {
                    *b = [c.validity.get(), c.offsets.get(), 0];
                    let items = &mut self.items[o];
                    items.array.length = c.items.get() as i64;
                    *items.buffers = [0, c.values.get(), 0];
                    if item.is_text() {
                        *items.buffers = [0, c.item_offsets.get(), c.values.get()];
                    }
                    a.children = address::<u32>(&*items.child);
                }
            } else if let Some(source) = c.source {
                if rows != batch.rows() {
                    return Err(Error::new("passes columns, but has another number of rows: take them"));
                }
                let raw = batch.raw(source);
                a.null_count = raw.array.null_count;
                b[..raw.buffers.len()].copy_from_slice(raw.buffers);
                a.children = raw.array.children;
            } else {
                return Err(Error::new("an output column was not made in this batch"));
            }
        }
        self.result.length = rows as i64;
        Ok(())
    }
}

/// Reads the columns of the input. The last one, the hidden row column, is apart.
#[inline(never)]
pub(crate) unsafe fn read_schema(schema: u32) -> Result<(Schema, Field)> {
    let root: &ArrowSchema = &*at(schema);
    let children: &[u32] = slice::from_raw_parts(at(root.children), root.n_children as usize);
    let mut input = Schema::new();
    for &child in children {
        let field: &ArrowSchema = &*at(child);
        let kind = read_type(field).ok_or("has a column of a type that this operator is too old for")?;
        input.read(text(field.name), kind, field.flags & NULLABLE != 0);
    }
    let row = input.pop().ok_or("has no column of row numbers")?;
    Ok((input, row))
}

unsafe fn read_type(field: &ArrowSchema) -> Option<Type> {
    let format = text(field.format);
    if format != "+l" {
        return Type::parse(format).copied();
    }
    let child: &u32 = &*at(field.children);
    let item: &ArrowSchema = &*at(*child);
    Type::parse(text(item.format)).map(Type::List)
}

/// Text of a number, without the weight of the standard library's formatting.
fn decimal(mut n: u32, room: &mut [u8; 10]) -> &str {
    let mut at = room.len();
    for to in room.iter_mut().rev() {
        *to = b'0' + (n % 10) as u8;
        n /= 10;
        at -= 1;
        if n == 0 {
            break;
        }
    }
    std::str::from_utf8(room.get(at..).unwrap_or(&[])).unwrap_or("")
}

/// UTF-8 up to a zero byte.
unsafe fn text<'a>(address: u32) -> &'a str {
    let start: *const u8 = at(address);
    let mut n = 0;
    while *start.add(n) != 0 {
        n += 1;
    }
    std::str::from_utf8(slice::from_raw_parts(start, n)).unwrap_or("")
}

impl SchemaMemory {
    fn new(fields: &[Field]) -> SchemaMemory {
        let text: Vec<Vec<u8>> = fields.iter().map(|f| [f.name.as_bytes(), &[0]].concat()).collect();
        let mut items = Vec::new();
        let children: Vec<ArrowSchema> = fields
            .iter()
            .zip(&text)
            .map(|(f, name)| {
                let mut schema = ArrowSchema {
                    format: address(f.kind.format().as_ptr()),
                    name: address(name.as_ptr()),
                    flags: if f.nullable { NULLABLE } else { 0 },
                    ..ArrowSchema::default()
                };
                if let Some(item) = f.kind.item() {
                    let (format, name) = (address(item.format().as_ptr()), address("item\0".as_ptr()));
                    let child = Box::new(ArrowSchema { format, name, ..ArrowSchema::default() });
                    let pointer = Box::new(address::<ArrowSchema>(&*child));
                    schema.n_children = 1;
                    schema.children = address::<u32>(&*pointer);
                    items.push((child, pointer));
                }
                schema
            })
            .collect();
        let pointers: Vec<u32> = children.iter().map(|c| address::<ArrowSchema>(c)).collect();
        let root = Box::new(ArrowSchema {
            format: address("+s\0".as_ptr()),
            name: address("\0".as_ptr()),
            n_children: fields.len() as i64,
            children: address(pointers.as_ptr()),
            ..ArrowSchema::default()
        });
        SchemaMemory { root, _children: children, _items: items, _pointers: pointers, _text: text }
    }
}
