-- Not a rule. What rules read: `events`, the feedback that counts, and `served`, the interactions without their text;
-- both of the prompts that are `touched`. An event above its rater's cap is in `relevant` alone.
CREATE TEMP TABLE relevant AS
SELECT c.*, coalesce(j.suspicious, []) AS suspicious, coalesce(j.capped, false) AS capped
FROM counted AS c
LEFT JOIN judged AS j USING (feedback_id)
WHERE getvariable('everything')
  OR c.said IN (SELECT said FROM mentions SEMI JOIN touched USING (place))
  OR c.said IN (FROM changed);

CREATE TEMP VIEW events AS SELECT * FROM relevant WHERE NOT capped;

CREATE TEMP TABLE served AS
SELECT
  interaction_id, sibling_group, prompt_hash, response_hash,
  -- response_hash is of the text with placeholders; whole_hash tells apart what differs in the redacted values alone.
  CASE WHEN cardinality(placeholders) > 0 THEN md5(response_hash || placeholders::VARCHAR) ELSE response_hash END
    AS whole_hash,
  md5(tools) AS tools, shown, user_id, consent,
  model_requested, sampling, finish_reason, file
FROM placed_interactions
WHERE hash(prompt_hash) IN (FROM touched)
  AND status IS DISTINCT FROM 'awaits_parent';  -- a prompt that is not whole yet compares with nothing

CREATE TEMP TABLE comparisons (
  rule VARCHAR,
  event_id VARCHAR,
  chosen_id VARCHAR,
  rejected_id VARCHAR,
  edited STRUCT(role VARCHAR, content VARCHAR, tool_calls VARCHAR, tool_call_id VARCHAR, name VARCHAR)[],
  margin DOUBLE,
  refused VARCHAR
);
