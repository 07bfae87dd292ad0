# Sourced by the scripts for which all golden models would take too long.

# A model of each way to store weights, and each piece of arithmetic that only some architectures have.
golden_models=llama-f32,llama-f16,llama-bf16,llama-q4_0,llama-q4_1,llama-q5_0,llama-q5_1,llama-q8_0,llama-q2_k,llama-q3_k_s,llama-q4_k_s
golden_models+=,llama-q4_k_m,llama-q5_k_s,llama-q6_k,llama-iq4_nl,llama-iq4_xs,gemma2-q8_0,gpt2-q8_0,gpt-oss-mxfp4_moe
