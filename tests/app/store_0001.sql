INSERT INTO pair VALUES ('p1', '[]', '[]', '[]', 'b2:a1', 'b2:b1', 'demo', NULL, 2.5, 'unjudged');
INSERT INTO pair VALUES ('p2', '[]', '[]', '[]', 'b2:a2', 'b2:b2', NULL, 'g', -1, NULL);
INSERT INTO slot VALUES ('p1', 0, 2.5, 'leased', 'ada', 1765000000000000);
INSERT INTO slot VALUES ('p1', 1, 2.5, 'done', 'bob', NULL);
INSERT INTO slot VALUES ('p2', 0, -1, 'open', NULL, NULL);
INSERT INTO slot VALUES ('p2', 1, -1, 'open', NULL, NULL);
INSERT INTO event (event_id, event_time, annotator, kind, verdict, retracts, pair_id, left_interaction_id, right_interaction_id, guidelines_version, late) VALUES ('e1', '2026-10-05T09:30:00+00:00', 'ada', 'verdict', 'left', NULL, 'p1', 'b2:a1', 'b2:b1', NULL, 0);
INSERT INTO event (event_id, event_time, annotator, kind, verdict, retracts, pair_id, left_interaction_id, right_interaction_id, guidelines_version, late) VALUES ('e2', '2026-10-05T09:31:00+00:00', 'bob', 'verdict', 'tie', NULL, 'p1', 'b2:a1', 'b2:b1', 'v1', 1);
INSERT INTO event (event_id, event_time, annotator, kind, verdict, retracts, pair_id, left_interaction_id, right_interaction_id, guidelines_version, late) VALUES ('e3', '2026-10-05T09:32:00+00:00', 'ada', 'retract', NULL, 'e1', 'p1', 'b2:a1', 'b2:b1', NULL, 0);
