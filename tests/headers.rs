//! The public headers: every dialect of C and C++ takes them, they say what the library does, and they are up to date.

mod c_host;
#[path = "headers/layout.rs"]
mod layout;

use std::process::Command;

use c_host::{declared_functions, header, must_run, prototypes, root, scratch, write};

const HEADERS: [&str; 3] = ["worker_errors.h", "worker_types.h", "worker_ffi.h"];

#[test]
fn the_committed_headers_are_those_that_the_source_makes() {
    for name in HEADERS {
        let made = std::fs::read_to_string(std::path::Path::new(env!("OUT_DIR")).join(name)).unwrap();
        assert!(made == header(name), "include/{name} is out of date; `make headers` rewrites it");
    }
}

/// Each header alone, each twice, and all in every order.
fn inclusions() -> Vec<String> {
    let include = |names: &[&str]| names.iter().map(|name| format!("#include \"{name}\"\n")).collect::<String>();
    let mut units: Vec<String> = HEADERS.iter().flat_map(|name| [include(&[name]), include(&[name, name])]).collect();
    for [a, b, c] in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        units.push(include(&[HEADERS[a], HEADERS[b], HEADERS[c]]));
    }
    units
}

fn check_dialects(extension: &str, compilers: [&str; 2], dialects: &[&str], flags: &[&str]) {
    let mut files = Vec::new();
    for (index, unit) in inclusions().iter().enumerate() {
        // A unit that declares nothing is not allowed everywhere.
        files.push(write(&format!("unit{index}.{extension}"), &format!("{unit}extern int unit;\n")));
    }
    let initial: String = layout::STRUCTS
        .iter()
        .map(|s| format!("    {{ {0} value = {1}; (void)value; }}\n", s.name, s.initial()))
        .collect();
    let usage = format!(
        "#include \"worker_ffi.h\"\n#include \"worker_ffi.h\"\n\
         typedef char bool_is_one_byte[sizeof(bool) == 1 ? 1 : -1];\n\
         int main(void);\nint main(void) {{\n{initial}    return (int)sizeof(bool_is_one_byte) - 1;\n}}\n"
    );
    files.push(write(&format!("usage.{extension}"), &usage));
    for compiler in compilers {
        for dialect in dialects {
            must_run(
                Command::new(compiler)
                    .arg(format!("-std={dialect}"))
                    .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"])
                    .arg(root().join("include"))
                    .args(flags)
                    .args(&files),
            );
        }
    }
}

#[test]
fn every_dialect_of_c_takes_the_headers_without_a_warning() {
    let dialects = ["c89", "c99", "c11", "c17", "c2x", "gnu89", "gnu17"];
    check_dialects("c", ["gcc", "clang"], &dialects, &["-Wstrict-prototypes"]);
}

#[test]
fn every_dialect_of_cpp_takes_the_headers_without_a_warning() {
    let dialects = ["c++98", "c++11", "c++14", "c++17", "c++20"];
    check_dialects("cpp", ["g++", "clang++"], &dialects, &[]);
}

#[test]
fn there_are_no_line_comments() {
    for name in HEADERS {
        for line in header(name).lines() {
            assert!(!line.contains("//"), "{name}: {line}");
        }
    }
}

#[test]
fn every_declared_function_links() {
    let text = header("worker_ffi.h");
    let names = declared_functions(&text);
    assert!(names.len() > 50, "{names:?}");
    let uses: String = names.iter().map(|name| format!("    (void (*)(void)){name},\n")).collect();
    let source = write(
        "links.c",
        &format!(
            "#include \"worker_ffi.h\"\n#include <stdio.h>\nstatic void (*const functions[])(void) = {{\n{uses}}};\n\
             int main(void) {{ printf(\"%zu\", sizeof functions / sizeof *functions); return 0; }}\n"
        ),
    );
    let program = c_host::compile_c(&source, "links", &["-Wno-pedantic"]);
    assert_eq!(must_run(&mut Command::new(program)), names.len().to_string());
}

#[test]
fn the_same_functions_link_from_two_units_of_c_and_cpp() {
    let folder = c_host::library_folder();
    let unit = |name: &str, body: &str| write(name, &format!("#include \"worker_ffi.h\"\n{body}\n"));
    let c = unit("unit_c.c", "unsigned c_unit(void); unsigned c_unit(void) { return worker_abi_version(); }");
    let cpp = unit(
        "unit_cpp.cpp",
        "extern \"C\" unsigned c_unit(void);\nint main() { return c_unit() == WORKER_ABI_VERSION && worker_abi_version() == WORKER_ABI_VERSION ? 0 : 1; }",
    );
    let object = scratch("programs").join("unit_c.o");
    must_run(Command::new("cc").arg("-c").arg(c).arg("-I").arg(root().join("include")).arg("-o").arg(&object));
    let program = scratch("programs").join("two_units");
    must_run(
        Command::new("c++")
            .arg(cpp)
            .arg(object)
            .arg("-I")
            .arg(root().join("include"))
            .arg("-o")
            .arg(&program)
            .arg("-L")
            .arg(folder)
            .args(["-lworker", "-Wl,-rpath"])
            .arg(folder),
    );
    must_run(&mut Command::new(program));
}

#[test]
fn structs_lie_in_c_as_they_do_in_rust() {
    let mut printing = String::new();
    for layout in layout::STRUCTS {
        printing += &format!("    printf(\"{0} %zu\\n\", sizeof({0}));\n", layout.name);
        for (field, ..) in layout.fields {
            printing += &format!(
                "    printf(\"{0}.{field} %zu %zu\\n\", offsetof({0}, {field}), sizeof((({0} *)0)->{field}));\n",
                layout.name
            );
        }
    }
    let source = write(
        "layout.c",
        &format!("#include \"worker_ffi.h\"\n#include <stdio.h>\nint main(void) {{\n{printing}    return 0;\n}}\n"),
    );
    let in_c = must_run(&mut Command::new(c_host::compile_c(&source, "layout", &[])));
    let mut in_rust = String::new();
    for layout in layout::STRUCTS {
        in_rust += &format!("{} {}\n", layout.name, layout.size);
        for (field, offset, size) in layout.fields {
            in_rust += &format!("{}.{field} {offset} {size}\n", layout.name);
        }
    }
    assert_eq!(in_c, in_rust);
}

#[test]
fn the_layout_list_has_every_struct_and_every_member_and_no_hidden_padding() {
    let text = header("worker_types.h");
    let mut seen = 0;
    for part in text.split("typedef struct worker_").skip(1) {
        let name = format!("worker_{}", part.split_whitespace().next().unwrap());
        let Some(body) = part.split_once('{').map(|(_, body)| body.split("\n}").next().unwrap()) else { continue };
        let members: Vec<&str> = body
            .lines()
            .map(str::trim)
            .filter(|line| line.ends_with(';') && !line.starts_with('*'))
            .map(|line| line.trim_end_matches(';').rsplit([' ', '*']).next().unwrap().split('[').next().unwrap())
            .collect();
        let layout = layout::STRUCTS.iter().find(|layout| layout.name == name).unwrap_or_else(|| panic!("{name}"));
        let listed: Vec<&str> = layout.fields.iter().map(|(field, ..)| *field).collect();
        assert_eq!(listed, members, "{name}");
        let mut end = 0;
        for (field, offset, size) in layout.fields {
            assert_eq!(*offset, end, "{name}: padding before {field}");
            end = offset + size;
        }
        assert_eq!(end, layout.size, "{name}: padding at the end");
        seen += 1;
    }
    assert_eq!(seen, layout::STRUCTS.len());
}

#[test]
fn initial_values_are_the_size_and_zeros() {
    let checks: String = layout::STRUCTS
        .iter()
        .filter(|layout| layout.fields[0].0 == "struct_size")
        .map(|layout| {
            format!(
                "    {{ {0} value = {1}; const unsigned char *bytes = (const unsigned char *)&value; size_t i;\n\
                 \x20     if (value.struct_size != sizeof value) {{ puts(\"{0} size\"); return 1; }}\n\
                 \x20     for (i = 4; i < sizeof value; i++) if (bytes[i] != 0) {{ puts(\"{0}\"); return 1; }} }}\n",
                layout.name,
                layout.initial()
            )
        })
        .collect();
    let source = write(
        "initial.c",
        &format!("#include \"worker_ffi.h\"\n#include <stdio.h>\nint main(void) {{\n{checks}    return 0;\n}}\n"),
    );
    must_run(&mut Command::new(c_host::compile_c(&source, "initial", &[])));
}

#[test]
fn every_function_tells_its_errors_ownership_threads_and_waiting_and_each_parameter() {
    let text = header("worker_ffi.h");
    for (name, prototype) in prototypes(&text) {
        // The declaration is the line with the name that is no line of a comment.
        let declaration = format!("{name}(");
        let line = text.lines().find(|line| line.contains(&declaration) && !line.starts_with(" *")).unwrap();
        let before = &text[..text.find(line).unwrap()];
        let comment = &before[before.rfind("/**").unwrap_or_else(|| panic!("{name} has no comment"))..];
        for line in ["*Errors*: ", "*Ownership*: ", "*Thread*: ", "*Blocks*: "] {
            assert!(comment.contains(line), "{name} lacks its line {line}");
        }
        let list = prototype.split_once('(').unwrap().1.trim_end_matches(')');
        for parameter in list.split(',').filter(|parameter| *parameter != "void") {
            let parameter = parameter.rsplit([' ', '*']).next().unwrap();
            assert!(comment.contains(&format!("- {parameter}: ")), "{name} does not tell of {parameter}");
        }
    }
}

#[test]
fn the_first_comment_is_the_manual_in_short() {
    let text = header("worker_ffi.h");
    let first = text.split("*/").next().unwrap();
    for topic in ["Handles.", "Threads.", "Errors.", "Strings.", "Fork.", "Exit."] {
        assert!(first.contains(topic), "{topic}");
    }
    assert!(first.lines().count() < 60);
}

#[test]
fn every_code_of_the_table_is_in_the_header() {
    let text = header("worker_errors.h");
    for code in worker::error::Code::ALL {
        assert!(text.contains(&format!("#define {} {}\n", code.c_name(), code.number())), "{}", code.c_name());
    }
    assert_eq!(text.matches("#define WORKER_ERROR_").count(), worker::error::Code::ALL.len());
}
