-- Not a rule. What rules read: `events`, the feedback that counts, and `served`, the interactions without their text.
-- Of an event that was changed the latest revision counts; one that was taken back does not.
CREATE TEMP TABLE events AS
SELECT feedback_id, interaction_id, other_ids, signal, value, scale_min, scale_max, text, placeholders, rater_id, event_time
FROM (
  SELECT *, row_number() OVER (PARTITION BY source, source_id ORDER BY revision DESC, feedback_id) AS age
  FROM feedback
)
WHERE age = 1 AND NOT coalesce(retracted, false);

CREATE TEMP TABLE served AS
SELECT interaction_id, sibling_group, prompt_hash, response_hash, tools, shown, user_id, consent
FROM interactions
WHERE status IS DISTINCT FROM 'awaits_parent';  -- a prompt that is not whole yet compares with nothing

CREATE TEMP TABLE comparisons (
  rule VARCHAR,
  event_id VARCHAR,
  chosen_id VARCHAR,
  rejected_id VARCHAR,
  edited STRUCT(role VARCHAR, content VARCHAR, tool_calls VARCHAR, tool_call_id VARCHAR, name VARCHAR)[],
  margin DOUBLE
);
