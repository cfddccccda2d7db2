-- Not a rule. The rows of `made` that are to be written, with their texts; `wanted` holds their triple_ids.
-- Python gives root_hash(json), and the table `numbered_texts`: responses whose placeholders were numbered jointly.
WITH edits AS (
  SELECT event_id, edited FROM comparisons WHERE edited IS NOT NULL
),
prompts AS (
  SELECT i.interaction_id, i.prompt, i.response, i.tools, i.source, i.model, i.finish_reason, i.token_ids,
    i.token_logprobs, i.logprob_model,
    -- The root ends with the first user's turn. Where that is the whole prompt, the hash is known already.
    coalesce(list_position(list_transform(i.prompt, lambda m: m.role), 'user'), len(i.prompt)) AS root_length
  FROM interactions AS i
)
SELECT
  m.triple_id,
  r.prompt,
  coalesce(edits.edited, chosen.response, c.response) AS chosen,
  coalesce(rejected.response, r.response) AS rejected,
  r.tools,
  m.prompt_hash, m.chosen_hash, m.rejected_hash,
  r.source,
  m.signal, m.rule, m.rule_version, m.strength, m.margin, m.weight, m.n_votes, m.n_agree, m.contradicted,
  m.suspicious, m.off_policy, m.chosen_interaction_id, m.rejected_interaction_id, m.event_ids,
  c.model AS chosen_model,
  r.model AS rejected_model,
  c.finish_reason AS chosen_finish_reason,
  r.finish_reason AS rejected_finish_reason,
  list_sum(c.token_logprobs::DOUBLE[]) AS chosen_logprob,
  list_sum(r.token_logprobs::DOUBLE[]) AS rejected_logprob,
  c.token_ids AS chosen_token_ids,
  r.token_ids AS rejected_token_ids,
  c.token_logprobs AS chosen_token_logprobs,
  r.token_logprobs AS rejected_token_logprobs,
  CASE WHEN c.logprob_model = r.logprob_model THEN r.logprob_model END AS logprob_model,
  CASE WHEN r.root_length >= len(r.prompt) THEN m.prompt_hash ELSE root_hash(to_json(r.prompt[:r.root_length])) END
    AS prompt_group,
  m.user_ids, m.consent, m.first_time, m.last_time
FROM made AS m
SEMI JOIN wanted ON m.triple_id = wanted.key
JOIN prompts AS r ON m.rejected_interaction_id = r.interaction_id
LEFT JOIN prompts AS c ON m.chosen_interaction_id = c.interaction_id
LEFT JOIN numbered_texts AS chosen ON NOT m.off_policy AND m.chosen_hash = chosen.response_hash
LEFT JOIN numbered_texts AS rejected ON m.rejected_hash = rejected.response_hash
LEFT JOIN edits ON m.off_policy AND m.event_ids[1] = edits.event_id
