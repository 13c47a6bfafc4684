/**
 * Chat template of the tiny model: ChatML, with tools in the Hermes form (`<tool_call>` tags) that llama-server
 * recognises by itself. Everything a client may send is tolerated: content as text, as parts or absent, tool calls
 * with arguments as text or object. The instructions do not spell the `<tool_call>` tag, since the model takes one in
 * its context for a call already made.
 */
export const TINY_CHAT_TEMPLATE = `{%- macro text_of(content) -%}
{%- if content is string -%}{{ content }}
{%- elif content -%}{%- for part in content -%}{%- if part.type == 'text' -%}{{ part.text }}{%- endif -%}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if messages and messages[0].role == 'system' -%}{{ text_of(messages[0].content) + '\\n\\n' }}{%- endif -%}
{{- '# Tools\\n\\nYou may call one or more functions. Their signatures are within <tools></tools> tags:\\n<tools>' -}}
{%- for tool in tools -%}{{ '\\n' + (tool | tojson) }}{%- endfor -%}
{{- '\\n</tools>\\n\\nTo call one, return a JSON object with its name and arguments.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{ '<|im_start|>user\\n<tool_response>\\n' + text_of(message.content) + '\\n</tool_response><|im_end|>\\n' }}
{%- elif not (tools and loop.first and message.role == 'system') -%}
{{ '<|im_start|>' + message.role + '\\n' + text_of(message.content) }}
{%- if message.tool_calls -%}
{%- for tool_call in message.tool_calls -%}
{%- if tool_call.function -%}{%- set tool_call = tool_call.function -%}{%- endif -%}
{{ '\\n<tool_call>{"name": "' + tool_call.name + '", "arguments": ' }}
{%- if tool_call.arguments is string -%}{{ tool_call.arguments }}{%- else -%}{{ tool_call.arguments | tojson }}{%- endif -%}
{{ '}</tool_call>' }}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}`;
