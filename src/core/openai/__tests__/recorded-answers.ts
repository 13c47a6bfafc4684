import type { Dialect } from '../routes.ts';

/**
 * Answers of llama-server v0.5.0 to one request of each dialect, byte for byte: 4 tokens, greedy, in batches of 64 so that
 * the progress of the prompt comes in several events.
 */
export interface RecordedAnswer {
  readonly name: string;
  readonly dialect: Dialect;
  /** The stream of it. */
  readonly stream: string;
  /** The same stream with `return_progress`. */
  readonly withProgress: string;
  /** The same answer in one piece. */
  readonly whole: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export const RECORDED_ANSWERS: readonly RecordedAnswer[] = [
  {
    name: 'chat',
    dialect: 'chat',
    promptTokens: 162,
    completionTokens: 4,
    stream: String.raw`data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-WmlfjVsOnsbhXdyYky6845xBdIZwAvjx","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"be"}}],"created":1795460081,"id":"chatcmpl-WmlfjVsOnsbhXdyYky6845xBdIZwAvjx","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" se"}}],"created":1795460081,"id":"chatcmpl-WmlfjVsOnsbhXdyYky6845xBdIZwAvjx","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"gi"}}],"created":1795460081,"id":"chatcmpl-WmlfjVsOnsbhXdyYky6845xBdIZwAvjx","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" se"}}],"created":1795460081,"id":"chatcmpl-WmlfjVsOnsbhXdyYky6845xBdIZwAvjx","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795460081,"id":"chatcmpl-WmlfjVsOnsbhXdyYky6845xBdIZwAvjx","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","timings":{"cache_n":0,"prompt_n":162,"prompt_ms":7.586,"prompt_per_token_ms":0.04682716049382716,"prompt_per_second":21355.12786712365,"predicted_n":4,"predicted_ms":0.584,"predicted_per_token_ms":0.19466666666666665,"predicted_per_second":5136.986301369863}}

data: [DONE]

`,
    withProgress: String.raw`data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","prompt_progress":{"total":162,"cache":0,"processed":0,"time_ms":0}}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","prompt_progress":{"total":162,"cache":0,"processed":64,"time_ms":1}}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","prompt_progress":{"total":162,"cache":0,"processed":128,"time_ms":3}}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","prompt_progress":{"total":162,"cache":0,"processed":162,"time_ms":5}}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"be"}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" se"}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"gi"}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" se"}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795460081,"id":"chatcmpl-IRWOkkfed0W9jXxBRS8z7mFp20qYPfOK","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","timings":{"cache_n":0,"prompt_n":162,"prompt_ms":5.53,"prompt_per_token_ms":0.034135802469135806,"prompt_per_second":29294.755877034357,"predicted_n":4,"predicted_ms":1.158,"predicted_per_token_ms":0.38599999999999995,"predicted_per_second":2590.6735751295337}}

data: [DONE]

`,
    whole: String.raw`{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"be segi se"}}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion","usage":{"completion_tokens":4,"prompt_tokens":162,"total_tokens":166,"prompt_tokens_details":{"cached_tokens":0}},"id":"chatcmpl-XoWlthc3sMHXjFHtGBhLC4G2pJaw3mXN","timings":{"cache_n":0,"prompt_n":162,"prompt_ms":4.176,"prompt_per_token_ms":0.025777777777777778,"prompt_per_second":38793.10344827586,"predicted_n":4,"predicted_ms":0.589,"predicted_per_token_ms":0.19633333333333333,"predicted_per_second":5093.378607809847}}`,
  },
  {
    name: 'chat-usage',
    dialect: 'chat',
    promptTokens: 162,
    completionTokens: 4,
    stream: String.raw`data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-J53xWTF9RPeHP8OXsbFRODdN4X6bsRu9","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"be"}}],"created":1795460081,"id":"chatcmpl-J53xWTF9RPeHP8OXsbFRODdN4X6bsRu9","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" se"}}],"created":1795460081,"id":"chatcmpl-J53xWTF9RPeHP8OXsbFRODdN4X6bsRu9","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"gi"}}],"created":1795460081,"id":"chatcmpl-J53xWTF9RPeHP8OXsbFRODdN4X6bsRu9","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" se"}}],"created":1795460081,"id":"chatcmpl-J53xWTF9RPeHP8OXsbFRODdN4X6bsRu9","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795460081,"id":"chatcmpl-J53xWTF9RPeHP8OXsbFRODdN4X6bsRu9","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[],"created":1795460081,"id":"chatcmpl-J53xWTF9RPeHP8OXsbFRODdN4X6bsRu9","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","usage":{"completion_tokens":4,"prompt_tokens":162,"total_tokens":166,"prompt_tokens_details":{"cached_tokens":0}},"timings":{"cache_n":0,"prompt_n":162,"prompt_ms":4.287,"prompt_per_token_ms":0.026462962962962962,"prompt_per_second":37788.663400979705,"predicted_n":4,"predicted_ms":1.37,"predicted_per_token_ms":0.4566666666666667,"predicted_per_second":2189.78102189781}}

data: [DONE]

`,
    withProgress: String.raw`data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","prompt_progress":{"total":162,"cache":0,"processed":0,"time_ms":0}}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","prompt_progress":{"total":162,"cache":0,"processed":64,"time_ms":4}}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","prompt_progress":{"total":162,"cache":0,"processed":128,"time_ms":5}}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","prompt_progress":{"total":162,"cache":0,"processed":162,"time_ms":8}}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"be"}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" se"}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"gi"}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" se"}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk"}

data: {"choices":[],"created":1795460081,"id":"chatcmpl-1smy8ZTWqAxBnW6aIkvzbqgMi7CMSh23","model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion.chunk","usage":{"completion_tokens":4,"prompt_tokens":162,"total_tokens":166,"prompt_tokens_details":{"cached_tokens":0}},"timings":{"cache_n":0,"prompt_n":162,"prompt_ms":8.65,"prompt_per_token_ms":0.05339506172839507,"prompt_per_second":18728.323699421966,"predicted_n":4,"predicted_ms":1.216,"predicted_per_token_ms":0.4053333333333333,"predicted_per_second":2467.1052631578946}}

data: [DONE]

`,
    whole: String.raw`{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"be segi se"}}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"chat.completion","usage":{"completion_tokens":4,"prompt_tokens":162,"total_tokens":166,"prompt_tokens_details":{"cached_tokens":0}},"id":"chatcmpl-AiFEnYnKYWzcHiy47uyZnukoXwMD3nz2","timings":{"cache_n":0,"prompt_n":162,"prompt_ms":3.794,"prompt_per_token_ms":0.023419753086419755,"prompt_per_second":42698.99841855562,"predicted_n":4,"predicted_ms":0.483,"predicted_per_token_ms":0.161,"predicted_per_second":6211.180124223603}}`,
  },
  {
    name: 'completions',
    dialect: 'completions',
    promptTokens: 146,
    completionTokens: 4,
    stream: String.raw`data: {"choices":[{"text":" li","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-E8kfn3Qq1V5tmoOjHxiMHHoXCoxKpWp3"}

data: {"choices":[{"text":"\n","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-E8kfn3Qq1V5tmoOjHxiMHHoXCoxKpWp3"}

data: {"choices":[{"text":"ge","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-E8kfn3Qq1V5tmoOjHxiMHHoXCoxKpWp3"}

data: {"choices":[{"text":"be","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-E8kfn3Qq1V5tmoOjHxiMHHoXCoxKpWp3"}

data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","usage":{"completion_tokens":4,"prompt_tokens":146,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":0}},"id":"chatcmpl-E8kfn3Qq1V5tmoOjHxiMHHoXCoxKpWp3","timings":{"cache_n":0,"prompt_n":146,"prompt_ms":2.943,"prompt_per_token_ms":0.02015753424657534,"prompt_per_second":49609.242269792725,"predicted_n":4,"predicted_ms":0.848,"predicted_per_token_ms":0.2826666666666667,"predicted_per_second":3537.735849056604}}

data: [DONE]

`,
    withProgress: String.raw`data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-w0Ae1g1k2hwZ7v1cCcBeWUmNbVunf22i","prompt_progress":{"total":146,"cache":0,"processed":0,"time_ms":0}}

data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-w0Ae1g1k2hwZ7v1cCcBeWUmNbVunf22i","prompt_progress":{"total":146,"cache":0,"processed":64,"time_ms":0}}

data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-w0Ae1g1k2hwZ7v1cCcBeWUmNbVunf22i","prompt_progress":{"total":146,"cache":0,"processed":128,"time_ms":1}}

data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-w0Ae1g1k2hwZ7v1cCcBeWUmNbVunf22i","prompt_progress":{"total":146,"cache":0,"processed":146,"time_ms":2}}

data: {"choices":[{"text":" li","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-w0Ae1g1k2hwZ7v1cCcBeWUmNbVunf22i"}

data: {"choices":[{"text":"\n","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-w0Ae1g1k2hwZ7v1cCcBeWUmNbVunf22i"}

data: {"choices":[{"text":"ge","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-w0Ae1g1k2hwZ7v1cCcBeWUmNbVunf22i"}

data: {"choices":[{"text":"be","index":0,"logprobs":null,"finish_reason":null}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","id":"chatcmpl-w0Ae1g1k2hwZ7v1cCcBeWUmNbVunf22i"}

data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","usage":{"completion_tokens":4,"prompt_tokens":146,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":0}},"id":"chatcmpl-w0Ae1g1k2hwZ7v1cCcBeWUmNbVunf22i","timings":{"cache_n":0,"prompt_n":146,"prompt_ms":2.535,"prompt_per_token_ms":0.017363013698630136,"prompt_per_second":57593.68836291913,"predicted_n":4,"predicted_ms":0.744,"predicted_per_token_ms":0.248,"predicted_per_second":4032.258064516129}}

data: [DONE]

`,
    whole: String.raw`{"choices":[{"text":" li\ngebe","index":0,"logprobs":null,"finish_reason":"length"}],"created":1795460081,"model":"tiny","system_fingerprint":"b1-de3ff81","object":"text_completion","usage":{"completion_tokens":4,"prompt_tokens":146,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":0}},"id":"chatcmpl-xRvybnDRr3uLDevsjyPjL4cNxENX02iF","timings":{"cache_n":0,"prompt_n":146,"prompt_ms":2.175,"prompt_per_token_ms":0.014897260273972602,"prompt_per_second":67126.4367816092,"predicted_n":4,"predicted_ms":0.371,"predicted_per_token_ms":0.12366666666666666,"predicted_per_second":8086.253369272237}}`,
  },
  {
    name: 'completion',
    dialect: 'completion',
    promptTokens: 146,
    completionTokens: 4,
    stream: String.raw`data: {"index":0,"content":" li","tokens":[378],"stop":false,"id_slot":-1,"tokens_predicted":1,"tokens_evaluated":146}

data: {"index":0,"content":"\n","tokens":[10],"stop":false,"id_slot":-1,"tokens_predicted":2,"tokens_evaluated":146}

data: {"index":0,"content":"ge","tokens":[272],"stop":false,"id_slot":-1,"tokens_predicted":3,"tokens_evaluated":146}

data: {"index":0,"content":"be","tokens":[257],"stop":false,"id_slot":-1,"tokens_predicted":4,"tokens_evaluated":146}

data: {"index":0,"content":"","tokens":[],"id_slot":0,"stop":true,"model":"tiny","tokens_predicted":4,"tokens_evaluated":146,"generation_settings":{"seed":4294967295,"temperature":0.0,"dynatemp_range":0.0,"dynatemp_exponent":1.0,"top_k":40,"top_p":0.949999988079071,"min_p":0.05000000074505806,"top_n_sigma":-1.0,"xtc_probability":0.0,"xtc_threshold":0.10000000149011612,"typical_p":1.0,"repeat_last_n":64,"repeat_penalty":1.0,"presence_penalty":0.0,"frequency_penalty":0.0,"dry_multiplier":0.0,"dry_base":1.75,"dry_allowed_length":2,"dry_penalty_last_n":64,"dry_sequence_breakers":["\n",":","\"","*"],"mirostat":0,"mirostat_tau":5.0,"mirostat_eta":0.10000000149011612,"adaptive_target":-1.0,"adaptive_decay":0.8999999761581421,"stop":[],"max_tokens":4,"n_predict":4,"n_keep":0,"n_discard":0,"ignore_eos":false,"stream":true,"logit_bias":[],"n_probs":0,"min_keep":0,"grammar":"","grammar_lazy":false,"grammar_triggers":[],"preserved_tokens":[],"chat_format":"Content-only","reasoning_format":"deepseek","reasoning_in_content":false,"generation_prompt":"","samplers":["penalties","dry","top_n_sigma","top_k","typ_p","top_p","min_p","xtc","temperature"],"speculative.types":"none","timings_per_token":false,"post_sampling_probs":false,"backend_sampling":false,"lora":[]},"prompt":"<|begin|>sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star ","has_new_line":true,"truncated":false,"stop_type":"limit","stopping_word":"","tokens_cached":149,"timings":{"cache_n":0,"prompt_n":146,"prompt_ms":2.167,"prompt_per_token_ms":0.014842465753424657,"prompt_per_second":67374.25011536687,"predicted_n":4,"predicted_ms":0.744,"predicted_per_token_ms":0.248,"predicted_per_second":4032.258064516129}}

`,
    withProgress: String.raw`data: {"index":0,"content":"","tokens":[0],"stop":false,"id_slot":-1,"tokens_predicted":0,"tokens_evaluated":146,"prompt_progress":{"total":146,"cache":0,"processed":0,"time_ms":0}}

data: {"index":0,"content":"","tokens":[0],"stop":false,"id_slot":-1,"tokens_predicted":0,"tokens_evaluated":146,"prompt_progress":{"total":146,"cache":0,"processed":64,"time_ms":0}}

data: {"index":0,"content":"","tokens":[0],"stop":false,"id_slot":-1,"tokens_predicted":0,"tokens_evaluated":146,"prompt_progress":{"total":146,"cache":0,"processed":128,"time_ms":1}}

data: {"index":0,"content":"","tokens":[0],"stop":false,"id_slot":-1,"tokens_predicted":0,"tokens_evaluated":146,"prompt_progress":{"total":146,"cache":0,"processed":146,"time_ms":2}}

data: {"index":0,"content":" li","tokens":[378],"stop":false,"id_slot":-1,"tokens_predicted":1,"tokens_evaluated":146}

data: {"index":0,"content":"\n","tokens":[10],"stop":false,"id_slot":-1,"tokens_predicted":2,"tokens_evaluated":146}

data: {"index":0,"content":"ge","tokens":[272],"stop":false,"id_slot":-1,"tokens_predicted":3,"tokens_evaluated":146}

data: {"index":0,"content":"be","tokens":[257],"stop":false,"id_slot":-1,"tokens_predicted":4,"tokens_evaluated":146}

data: {"index":0,"content":"","tokens":[],"id_slot":0,"stop":true,"model":"tiny","tokens_predicted":4,"tokens_evaluated":146,"generation_settings":{"seed":4294967295,"temperature":0.0,"dynatemp_range":0.0,"dynatemp_exponent":1.0,"top_k":40,"top_p":0.949999988079071,"min_p":0.05000000074505806,"top_n_sigma":-1.0,"xtc_probability":0.0,"xtc_threshold":0.10000000149011612,"typical_p":1.0,"repeat_last_n":64,"repeat_penalty":1.0,"presence_penalty":0.0,"frequency_penalty":0.0,"dry_multiplier":0.0,"dry_base":1.75,"dry_allowed_length":2,"dry_penalty_last_n":64,"dry_sequence_breakers":["\n",":","\"","*"],"mirostat":0,"mirostat_tau":5.0,"mirostat_eta":0.10000000149011612,"adaptive_target":-1.0,"adaptive_decay":0.8999999761581421,"stop":[],"max_tokens":4,"n_predict":4,"n_keep":0,"n_discard":0,"ignore_eos":false,"stream":true,"logit_bias":[],"n_probs":0,"min_keep":0,"grammar":"","grammar_lazy":false,"grammar_triggers":[],"preserved_tokens":[],"chat_format":"Content-only","reasoning_format":"deepseek","reasoning_in_content":false,"generation_prompt":"","samplers":["penalties","dry","top_n_sigma","top_k","typ_p","top_p","min_p","xtc","temperature"],"speculative.types":"none","timings_per_token":false,"post_sampling_probs":false,"backend_sampling":false,"lora":[]},"prompt":"<|begin|>sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star ","has_new_line":true,"truncated":false,"stop_type":"limit","stopping_word":"","tokens_cached":149,"timings":{"cache_n":0,"prompt_n":146,"prompt_ms":2.427,"prompt_per_token_ms":0.016623287671232875,"prompt_per_second":60156.57189946436,"predicted_n":4,"predicted_ms":0.64,"predicted_per_token_ms":0.21333333333333335,"predicted_per_second":4687.5}}

`,
    whole: String.raw`{"index":0,"content":" li\ngebe","tokens":[],"id_slot":0,"stop":true,"model":"tiny","tokens_predicted":4,"tokens_evaluated":146,"generation_settings":{"seed":4294967295,"temperature":0.0,"dynatemp_range":0.0,"dynatemp_exponent":1.0,"top_k":40,"top_p":0.949999988079071,"min_p":0.05000000074505806,"top_n_sigma":-1.0,"xtc_probability":0.0,"xtc_threshold":0.10000000149011612,"typical_p":1.0,"repeat_last_n":64,"repeat_penalty":1.0,"presence_penalty":0.0,"frequency_penalty":0.0,"dry_multiplier":0.0,"dry_base":1.75,"dry_allowed_length":2,"dry_penalty_last_n":64,"dry_sequence_breakers":["\n",":","\"","*"],"mirostat":0,"mirostat_tau":5.0,"mirostat_eta":0.10000000149011612,"adaptive_target":-1.0,"adaptive_decay":0.8999999761581421,"stop":[],"max_tokens":4,"n_predict":4,"n_keep":0,"n_discard":0,"ignore_eos":false,"stream":false,"logit_bias":[],"n_probs":0,"min_keep":0,"grammar":"","grammar_lazy":false,"grammar_triggers":[],"preserved_tokens":[],"chat_format":"Content-only","reasoning_format":"deepseek","reasoning_in_content":false,"generation_prompt":"","samplers":["penalties","dry","top_n_sigma","top_k","typ_p","top_p","min_p","xtc","temperature"],"speculative.types":"none","timings_per_token":false,"post_sampling_probs":false,"backend_sampling":false,"lora":[]},"prompt":"<|begin|>sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star sun moon star ","has_new_line":true,"truncated":false,"stop_type":"limit","stopping_word":"","tokens_cached":149,"timings":{"cache_n":0,"prompt_n":146,"prompt_ms":3.263,"prompt_per_token_ms":0.02234931506849315,"prompt_per_second":44744.10052099296,"predicted_n":4,"predicted_ms":0.447,"predicted_per_token_ms":0.149,"predicted_per_second":6711.4093959731545}}`,
  },
  {
    name: 'infill',
    dialect: 'completion',
    promptTokens: 55,
    completionTokens: 4,
    stream: String.raw`data: {"index":0,"content":"ja","tokens":[281],"stop":false,"id_slot":-1,"tokens_predicted":1,"tokens_evaluated":55}

data: {"index":0,"content":" bo","tokens":[344],"stop":false,"id_slot":-1,"tokens_predicted":2,"tokens_evaluated":55}

data: {"index":0,"content":" ba","tokens":[341],"stop":false,"id_slot":-1,"tokens_predicted":3,"tokens_evaluated":55}

data: {"index":0,"content":" me","tokens":[382],"stop":false,"id_slot":-1,"tokens_predicted":4,"tokens_evaluated":55}

data: {"index":0,"content":"","tokens":[],"id_slot":1,"stop":true,"model":"tiny","tokens_predicted":4,"tokens_evaluated":55,"generation_settings":{"seed":4294967295,"temperature":0.0,"dynatemp_range":0.0,"dynatemp_exponent":1.0,"top_k":40,"top_p":0.949999988079071,"min_p":0.05000000074505806,"top_n_sigma":-1.0,"xtc_probability":0.0,"xtc_threshold":0.10000000149011612,"typical_p":1.0,"repeat_last_n":64,"repeat_penalty":1.0,"presence_penalty":0.0,"frequency_penalty":0.0,"dry_multiplier":0.0,"dry_base":1.75,"dry_allowed_length":2,"dry_penalty_last_n":64,"dry_sequence_breakers":["\n",":","\"","*"],"mirostat":0,"mirostat_tau":5.0,"mirostat_eta":0.10000000149011612,"adaptive_target":-1.0,"adaptive_decay":0.8999999761581421,"stop":[],"max_tokens":4,"n_predict":4,"n_keep":0,"n_discard":0,"ignore_eos":false,"stream":true,"logit_bias":[],"n_probs":0,"min_keep":0,"grammar":"","grammar_lazy":false,"grammar_triggers":[],"preserved_tokens":[],"chat_format":"Content-only","reasoning_format":"deepseek","reasoning_in_content":false,"generation_prompt":"","samplers":["penalties","dry","top_n_sigma","top_k","typ_p","top_p","min_p","xtc","temperature"],"speculative.types":"none","timings_per_token":false,"post_sampling_probs":false,"backend_sampling":false,"lora":[]},"prompt":"<|begin|><|fim_prefix|>tar sun moon star sun moon star sun moon star sun moon star sun moon star <|fim_suffix|>end<|fim_middle|>","has_new_line":false,"truncated":false,"stop_type":"limit","stopping_word":"","tokens_cached":58,"timings":{"cache_n":0,"prompt_n":55,"prompt_ms":1.474,"prompt_per_token_ms":0.0268,"prompt_per_second":37313.432835820895,"predicted_n":4,"predicted_ms":0.411,"predicted_per_token_ms":0.13699999999999998,"predicted_per_second":7299.2700729927}}

`,
    withProgress: String.raw`data: {"index":0,"content":"","tokens":[0],"stop":false,"id_slot":-1,"tokens_predicted":0,"tokens_evaluated":55,"prompt_progress":{"total":55,"cache":0,"processed":0,"time_ms":0}}

data: {"index":0,"content":"","tokens":[0],"stop":false,"id_slot":-1,"tokens_predicted":0,"tokens_evaluated":55,"prompt_progress":{"total":55,"cache":0,"processed":55,"time_ms":1}}

data: {"index":0,"content":"ja","tokens":[281],"stop":false,"id_slot":-1,"tokens_predicted":1,"tokens_evaluated":55}

data: {"index":0,"content":" bo","tokens":[344],"stop":false,"id_slot":-1,"tokens_predicted":2,"tokens_evaluated":55}

data: {"index":0,"content":" ba","tokens":[341],"stop":false,"id_slot":-1,"tokens_predicted":3,"tokens_evaluated":55}

data: {"index":0,"content":" me","tokens":[382],"stop":false,"id_slot":-1,"tokens_predicted":4,"tokens_evaluated":55}

data: {"index":0,"content":"","tokens":[],"id_slot":1,"stop":true,"model":"tiny","tokens_predicted":4,"tokens_evaluated":55,"generation_settings":{"seed":4294967295,"temperature":0.0,"dynatemp_range":0.0,"dynatemp_exponent":1.0,"top_k":40,"top_p":0.949999988079071,"min_p":0.05000000074505806,"top_n_sigma":-1.0,"xtc_probability":0.0,"xtc_threshold":0.10000000149011612,"typical_p":1.0,"repeat_last_n":64,"repeat_penalty":1.0,"presence_penalty":0.0,"frequency_penalty":0.0,"dry_multiplier":0.0,"dry_base":1.75,"dry_allowed_length":2,"dry_penalty_last_n":64,"dry_sequence_breakers":["\n",":","\"","*"],"mirostat":0,"mirostat_tau":5.0,"mirostat_eta":0.10000000149011612,"adaptive_target":-1.0,"adaptive_decay":0.8999999761581421,"stop":[],"max_tokens":4,"n_predict":4,"n_keep":0,"n_discard":0,"ignore_eos":false,"stream":true,"logit_bias":[],"n_probs":0,"min_keep":0,"grammar":"","grammar_lazy":false,"grammar_triggers":[],"preserved_tokens":[],"chat_format":"Content-only","reasoning_format":"deepseek","reasoning_in_content":false,"generation_prompt":"","samplers":["penalties","dry","top_n_sigma","top_k","typ_p","top_p","min_p","xtc","temperature"],"speculative.types":"none","timings_per_token":false,"post_sampling_probs":false,"backend_sampling":false,"lora":[]},"prompt":"<|begin|><|fim_prefix|>tar sun moon star sun moon star sun moon star sun moon star sun moon star <|fim_suffix|>end<|fim_middle|>","has_new_line":false,"truncated":false,"stop_type":"limit","stopping_word":"","tokens_cached":58,"timings":{"cache_n":0,"prompt_n":55,"prompt_ms":1.564,"prompt_per_token_ms":0.028436363636363638,"prompt_per_second":35166.24040920716,"predicted_n":4,"predicted_ms":0.582,"predicted_per_token_ms":0.19399999999999998,"predicted_per_second":5154.639175257733}}

`,
    whole: String.raw`{"index":0,"content":"ja bo ba me","tokens":[],"id_slot":1,"stop":true,"model":"tiny","tokens_predicted":4,"tokens_evaluated":55,"generation_settings":{"seed":4294967295,"temperature":0.0,"dynatemp_range":0.0,"dynatemp_exponent":1.0,"top_k":40,"top_p":0.949999988079071,"min_p":0.05000000074505806,"top_n_sigma":-1.0,"xtc_probability":0.0,"xtc_threshold":0.10000000149011612,"typical_p":1.0,"repeat_last_n":64,"repeat_penalty":1.0,"presence_penalty":0.0,"frequency_penalty":0.0,"dry_multiplier":0.0,"dry_base":1.75,"dry_allowed_length":2,"dry_penalty_last_n":64,"dry_sequence_breakers":["\n",":","\"","*"],"mirostat":0,"mirostat_tau":5.0,"mirostat_eta":0.10000000149011612,"adaptive_target":-1.0,"adaptive_decay":0.8999999761581421,"stop":[],"max_tokens":4,"n_predict":4,"n_keep":0,"n_discard":0,"ignore_eos":false,"stream":false,"logit_bias":[],"n_probs":0,"min_keep":0,"grammar":"","grammar_lazy":false,"grammar_triggers":[],"preserved_tokens":[],"chat_format":"Content-only","reasoning_format":"deepseek","reasoning_in_content":false,"generation_prompt":"","samplers":["penalties","dry","top_n_sigma","top_k","typ_p","top_p","min_p","xtc","temperature"],"speculative.types":"none","timings_per_token":false,"post_sampling_probs":false,"backend_sampling":false,"lora":[]},"prompt":"<|begin|><|fim_prefix|>tar sun moon star sun moon star sun moon star sun moon star sun moon star <|fim_suffix|>end<|fim_middle|>","has_new_line":false,"truncated":false,"stop_type":"limit","stopping_word":"","tokens_cached":58,"timings":{"cache_n":0,"prompt_n":55,"prompt_ms":1.355,"prompt_per_token_ms":0.024636363636363637,"prompt_per_second":40590.405904059044,"predicted_n":4,"predicted_ms":0.394,"predicted_per_token_ms":0.13133333333333333,"predicted_per_second":7614.213197969543}}`,
  },
  {
    name: 'responses',
    dialect: 'responses',
    promptTokens: 162,
    completionTokens: 4,
    stream: String.raw`event: response.created
data: {"type":"response.created","response":{"id":"resp_0RMi3Lx5MrlHGAxHaRBbtYbAWf3C2vAX","object":"response","status":"in_progress"}}

event: response.in_progress
data: {"type":"response.in_progress","response":{"id":"resp_0RMi3Lx5MrlHGAxHaRBbtYbAWf3C2vAX","object":"response","status":"in_progress"}}

event: response.output_item.added
data: {"type":"response.output_item.added","item":{"content":[],"id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","role":"assistant","status":"in_progress","type":"message"}}

event: response.content_part.added
data: {"type":"response.content_part.added","item_id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","part":{"type":"output_text","text":""}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","delta":"be"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","delta":" se"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","delta":"gi"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","delta":" se"}

event: response.output_text.done
data: {"type":"response.output_text.done","item_id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","text":"be segi se"}

event: response.content_part.done
data: {"type":"response.content_part.done","item_id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","part":{"type":"output_text","annotations":[],"logprobs":[],"text":"be segi se"}}

event: response.output_item.done
data: {"type":"response.output_item.done","item":{"type":"message","status":"completed","id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"be segi se"}],"role":"assistant"}}

event: response.completed
data: {"type":"response.completed","response":{"id":"resp_0RMi3Lx5MrlHGAxHaRBbtYbAWf3C2vAX","object":"response","created_at":1795460081,"status":"completed","model":"tiny","output":[{"type":"message","status":"completed","id":"msg_XJbMly7UxcJlcChlYxp217mbAyj1aPEU","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"be segi se"}],"role":"assistant"}],"usage":{"input_tokens":162,"output_tokens":4,"total_tokens":166,"input_tokens_details":{"cached_tokens":0}}},"timings":{"cache_n":0,"prompt_n":162,"prompt_ms":4.086,"prompt_per_token_ms":0.025222222222222226,"prompt_per_second":39647.57709251101,"predicted_n":4,"predicted_ms":0.79,"predicted_per_token_ms":0.26333333333333336,"predicted_per_second":3797.4683544303793}}

`,
    withProgress: String.raw`event: response.created
data: {"type":"response.created","response":{"id":"resp_EYxTpawCcBgo1GMaztzcrWnsJYwmAo3I","object":"response","status":"in_progress"}}

event: response.in_progress
data: {"type":"response.in_progress","response":{"id":"resp_EYxTpawCcBgo1GMaztzcrWnsJYwmAo3I","object":"response","status":"in_progress"},"prompt_progress":{"total":162,"cache":0,"processed":0,"time_ms":0}}

event: response.in_progress
data: {"type":"response.in_progress","response":{"id":"resp_EYxTpawCcBgo1GMaztzcrWnsJYwmAo3I","object":"response","status":"in_progress"},"prompt_progress":{"total":162,"cache":0,"processed":64,"time_ms":1}}

event: response.in_progress
data: {"type":"response.in_progress","response":{"id":"resp_EYxTpawCcBgo1GMaztzcrWnsJYwmAo3I","object":"response","status":"in_progress"},"prompt_progress":{"total":162,"cache":0,"processed":128,"time_ms":1}}

event: response.in_progress
data: {"type":"response.in_progress","response":{"id":"resp_EYxTpawCcBgo1GMaztzcrWnsJYwmAo3I","object":"response","status":"in_progress"},"prompt_progress":{"total":162,"cache":0,"processed":162,"time_ms":4}}

event: response.output_item.added
data: {"type":"response.output_item.added","item":{"content":[],"id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","role":"assistant","status":"in_progress","type":"message"}}

event: response.content_part.added
data: {"type":"response.content_part.added","item_id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","part":{"type":"output_text","text":""}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","delta":"be"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","delta":" se"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","delta":"gi"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","delta":" se"}

event: response.output_text.done
data: {"type":"response.output_text.done","item_id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","text":"be segi se"}

event: response.content_part.done
data: {"type":"response.content_part.done","item_id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","part":{"type":"output_text","annotations":[],"logprobs":[],"text":"be segi se"}}

event: response.output_item.done
data: {"type":"response.output_item.done","item":{"type":"message","status":"completed","id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"be segi se"}],"role":"assistant"}}

event: response.completed
data: {"type":"response.completed","response":{"id":"resp_EYxTpawCcBgo1GMaztzcrWnsJYwmAo3I","object":"response","created_at":1795460081,"status":"completed","model":"tiny","output":[{"type":"message","status":"completed","id":"msg_NGeDjauG72WVcel2mfSZ49ayYi6vjZEK","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"be segi se"}],"role":"assistant"}],"usage":{"input_tokens":162,"output_tokens":4,"total_tokens":166,"input_tokens_details":{"cached_tokens":0}}},"timings":{"cache_n":0,"prompt_n":162,"prompt_ms":4.196,"prompt_per_token_ms":0.02590123456790123,"prompt_per_second":38608.19828408008,"predicted_n":4,"predicted_ms":0.699,"predicted_per_token_ms":0.23299999999999998,"predicted_per_second":4291.845493562232}}

`,
    whole: String.raw`{"completed_at":1795460081,"created_at":1795460081,"id":"resp_mAOclYbh33me4B7ZTGyoMqOhJKQYGzTG","model":"tiny","object":"response","output":[{"content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"be segi se"}],"id":"msg_jmKeJIyE326IsZRaJA6OsW4B2581rgtt","role":"assistant","status":"completed","type":"message"}],"status":"completed","usage":{"input_tokens":162,"output_tokens":4,"total_tokens":166,"input_tokens_details":{"cached_tokens":0}}}`,
  },
  {
    name: 'messages',
    dialect: 'messages',
    promptTokens: 162,
    completionTokens: 4,
    stream: String.raw`event: message_start
data: {"type":"message_start","message":{"id":"chatcmpl-QZcy4hLtkA1lAgxLJULXmte0CnFOQycy","type":"message","role":"assistant","content":[],"model":"tiny","stop_reason":null,"stop_sequence":null,"usage":{"cache_read_input_tokens":161,"input_tokens":1,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"be"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" se"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"gi"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" se"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":4}}

event: message_stop
data: {"type":"message_stop"}

`,
    withProgress: String.raw`event: message_start
data: {"type":"message_start","message":{"id":"chatcmpl-rmyvJTKCKtRT9KJTvV75f74PHd6REHdY","type":"message","role":"assistant","content":[],"model":"tiny","stop_reason":null,"stop_sequence":null,"usage":{"cache_read_input_tokens":161,"input_tokens":1,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"be"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" se"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"gi"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" se"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":4}}

event: message_stop
data: {"type":"message_stop"}

`,
    whole: String.raw`{"id":"chatcmpl-sJsO5IcBuO7W63AJOJjAwnsrGvmjue9Y","type":"message","role":"assistant","content":[{"type":"text","text":"be segi se"}],"model":"tiny","stop_reason":"max_tokens","stop_sequence":null,"usage":{"cache_read_input_tokens":161,"input_tokens":1,"output_tokens":4}}`,
  },
];
