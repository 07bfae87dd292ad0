use super::*;

fn render(template: &str, messages: &str, options: &ChatOptions) -> Result<String> {
    ChatTemplate::new(template, None, "<s>".into(), "</s>".into())?.render(messages, options)
}

fn with_prompt() -> ChatOptions {
    ChatOptions { add_generation_prompt: true, ..ChatOptions::default() }
}

const TALK: &str = r#"[{"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi <b>you</b> "}, {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Bye"}]"#;

#[test]
fn chatml_with_a_default_system_message_and_tools() {
    // In the style of Qwen 2.5.
    let template = r#"
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content }}{%- else %}{{- 'You help.' }}{%- endif %}
    {{- "\n\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou help.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{- '\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' }}
        {{- message.content }}
        {{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"#;
    assert_eq!(
        render(template, TALK, &with_prompt()).unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <b>you</b> <|im_end|>\n\
         <|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    );
    let calls = r#"[{"role": "user", "content": "Weather?"},
        {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": 2}}}]},
        {"role": "tool", "content": "rain"}, {"role": "tool", "content": "sun"}]"#;
    let tools = Some(r#"[{"type": "function", "function": {"name": "weather", "parameters": {}}}]"#.to_owned());
    assert_eq!(
        render(template, calls, &ChatOptions { tools, ..ChatOptions::default() }).unwrap(),
        "<|im_start|>system\nYou help.\n\n<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"parameters\": {}}}\n</tools><|im_end|>\n\
         <|im_start|>user\nWeather?<|im_end|>\n<|im_start|>assistant\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\", \"days\": 2}}\n</tool_call><|im_end|>\n\
         <|im_start|>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response><|im_end|>\n"
    );
}

#[test]
fn headers_with_the_beginning_token_dates_and_trimmed_text() {
    // In the style of Llama 3.
    let template = r#"{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- tool_call.name + "(" }}
        {%- for arg_name, arg_val in tool_call.arguments | items %}
            {{- arg_name + '="' + arg_val + '"' }}
            {%- if not loop.last %}{{- ", " }}{%- endif %}
        {%- endfor %}
        {{- ")" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"#;
    let variables = Some(r#"{"date_string": "26 Jul 2024"}"#.to_owned());
    let options = ChatOptions { variables, ..with_prompt() };
    assert_eq!(
        render(template, TALK, &options).unwrap(),
        "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nHi <b>you</b><|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    );
    let one =
        r#"[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"b": "1", "a": "2"}}}]}]"#;
    assert!(render(template, one, &options)
        .unwrap()
        .ends_with("<|eot_id|>f(b=\"1\", a=\"2\")<|start_header_id|>assistant<|end_header_id|>\n\n"));
    let two = r#"[{"role": "assistant", "tool_calls": [{}, {}]}]"#;
    let error = render(template, two, &options).unwrap_err();
    assert_eq!(error.code, Code::InvalidParameter);
    assert!(error.detail.contains("only supports single tool-calls"), "{}", error.detail);
    // Without a date, today's is used.
    assert!(render(template, TALK, &with_prompt()).unwrap().contains("Today Date: "));
}

#[test]
fn block_trimming_and_conditions_of_small_templates() {
    // In the style of Phi-3: lines of their own for statements leave no blank lines behind.
    let template = "{% for message in messages %}
    {% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + '<|end|>\n' }}
    {%- elif message['role'] == 'assistant' -%}
        {{ '<|assistant|>\n' + message['content'] + '<|end|>\n' }}
    {%- endif %}
{% endfor %}
{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}";
    let talk = r#"[{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]"#;
    assert_eq!(
        render(template, talk, &with_prompt()).unwrap(),
        "<|user|>\nA<|end|>\n<|assistant|>\nB<|end|>\n<|assistant|>\n"
    );
    assert_eq!(
        render(template, talk, &ChatOptions::default()).unwrap(),
        "<|user|>\nA<|end|>\n<|assistant|>\nB<|end|>\n</s>"
    );
}

#[test]
fn namespaces_macros_methods_and_alternation() {
    // In the style of Gemma, with the features of larger ones.
    let template = r#"{{ bos_token }}{%- set ns = namespace(first=true, prefix='') -%}
{%- macro turn(role, text) -%}
<start_of_turn>{{ role }}
{{ text | trim }}<end_of_turn>
{% endmacro -%}
{%- if messages[0]['role'] == 'system' -%}
    {%- set ns.prefix = messages[0]['content'].strip() + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ turn(role, (ns.prefix if ns.first else '') + message['content']) }}
    {%- set ns.first = false -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}"#;
    assert_eq!(
        render(template, TALK, &with_prompt()).unwrap(),
        "<s><start_of_turn>user\nBe brief.\n\n Hi <b>you</b><end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n\
         <start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"
    );
    let error = render(template, r#"[{"role": "assistant", "content": "x"}]"#, &with_prompt()).unwrap_err();
    assert_eq!(error.code, Code::InvalidParameter);
    assert!(error.detail.contains("must alternate"), "{}", error.detail);
}

#[test]
fn python_methods_filters_loop_controls_and_generation_tags() {
    let cases = [
        ("{{ ' a b '.strip().split(' ')[1].upper() }}", "B"),
        ("{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}", "b"),
        ("{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}{% if loop.index == 4 %}{% break %}{% endif %}{{ m.role }} {% endfor %}", "system assistant "),
        ("{% for m in messages[::-1] %}{{ m.role[0] }}{% endfor %}", "uaus"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "2"),
        ("{{ messages | map(attribute='role') | join(',') }}", "system,user,assistant,user"),
        ("{{ {'a': [1, 'x<y']} | tojson(indent=2) }}", "{\n  \"a\": [\n    1,\n    \"x<y\"\n  ]\n}"),
        ("{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}={{ v }};{% endfor %}", "b=1;a=2;"),
        ("{% for k, v in {'b': 1, 'a': 2} | dictsort %}{{ k }}{% endfor %}", "ab"),
        ("{{ messages[0].get('name', 'none') }}{{ 'x' in 'axb' }}", "noneTrue"),
        ("{% if messages[0].content is string and messages is iterable and nothing is not defined %}yes{% endif %}", "yes"),
        ("{{ messages[0].nothing }}|{{ messages[0]['nothing'] or 'default' }}", "|default"),
        ("{% generation %}kept{% endgeneration %}", "kept"),
        ("{{ range(3) | list | last }}{{ 'ab'.startswith('a') }}{{ 'a,b'.replace(',', ';') }}", "2Truea;b"),
        ("a\n{# comment #}\n{{ messages | length }}\n", "a\n4"),
    ];
    for (template, expected) in cases {
        assert_eq!(render(template, TALK, &ChatOptions::default()).unwrap(), expected, "{template}");
    }
}

#[test]
fn content_in_parts_becomes_lines() {
    let messages = r#"[{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]"#;
    assert_eq!(render("{{ messages[0].content }}", messages, &ChatOptions::default()).unwrap(), "a\nb");
}

#[test]
fn wrong_messages_are_named_by_place() {
    for (messages, expected) in [
        ("{", "messages: not JSON"),
        ("{}", "messages: expected an array, found an object"),
        ("[{\"role\": \"user\", \"content\": \"x\"}, 5]", "messages[1]: expected an object, found a number"),
        ("[{\"content\": \"x\"}]", "messages[0].role is missing"),
        ("[{\"role\": 1, \"content\": \"x\"}]", "messages[0].role: expected a string, found a number"),
        ("[{\"role\": \"user\"}]", "messages[0].content is missing"),
        (
            "[{\"role\": \"user\", \"content\": null}]",
            "messages[0].content: expected a string or an array of parts, found null",
        ),
        (
            "[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]",
            "messages[0].content[0].type: expected \"text\", found \"image_url\"",
        ),
        (
            "[{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}]",
            "messages[0].content[0].text: expected a string",
        ),
    ] {
        let error = render("x", messages, &ChatOptions::default()).unwrap_err();
        assert_eq!(error.code, Code::InvalidParameter);
        assert!(error.detail.contains(expected), "{messages}: {}", error.detail);
    }
    for options in [
        ChatOptions { tools: Some("{}".into()), ..ChatOptions::default() },
        ChatOptions { variables: Some("[]".into()), ..ChatOptions::default() },
    ] {
        assert_eq!(render("x", "[]", &options).unwrap_err().code, Code::InvalidParameter);
    }
}

#[test]
fn a_malformed_template_is_refused_with_its_line() {
    for template in ["a\n{% if %}", "\n{{ 'x }}", "x\n{% unknown_tag %}", "{% for x in y %}\n"] {
        let error = ChatTemplate::new(template, None, String::new(), String::new()).unwrap_err();
        assert_eq!(error.code, Code::ModelUnsupported);
        assert!(error.detail.contains("tokenizer.chat_template") && error.detail.contains("line "), "{}", error.detail);
    }
    let error = render("a\n{{ messages | no_such_filter }}", "[]", &ChatOptions::default()).unwrap_err();
    assert_eq!(error.code, Code::ModelUnsupported);
    assert!(error.detail.contains("line 2") && error.detail.contains("no_such_filter"), "{}", error.detail);
}

#[test]
fn a_hostile_template_is_stopped() {
    let started = std::time::Instant::now();
    for template in [
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**9 }}",
        "{% for a in range(9999) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 100000 }}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{{ range(10**12) | list }}",
        "{% include 'tokenizer.chat_template' %}",
        "{% include '/etc/passwd' %}",
    ] {
        let error = render(template, "[]", &ChatOptions::default()).unwrap_err();
        assert_eq!(error.code, Code::ModelUnsupported, "{template}");
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
    let deep = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(ChatTemplate::new(&format!("{{{{ {deep} }}}}"), None, String::new(), String::new()).is_err());
    let long = "x".repeat(LONGEST_TEMPLATE + 1);
    assert!(ChatTemplate::new(&long, None, String::new(), String::new()).is_err());
}
