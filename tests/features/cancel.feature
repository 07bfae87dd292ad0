Feature: Cancelling
  A session can be cancelled by any thread, at any moment; its reader is told, once, and the model goes on serving.

  Scenario: Cancelled while another thread waits for a token
    Given a model opened through the C functions
    And a session that would write 100000 tokens
    When another thread cancels the session
    Then the session should end as "cancelled" within 2 seconds
    And the model should serve a new session

  Scenario: Cancelled before the first token is read
    Given a model opened through the C functions
    And a session that would write 100000 tokens
    When I cancel the session
    Then the session should end as "cancelled" within 2 seconds

  Scenario: Cancelled twice
    Given a model opened through the C functions
    And a session that would write 100000 tokens
    When I cancel the session
    And I cancel the session
    Then the session should end as "cancelled" within 2 seconds

  Scenario: The model is unloaded under a running session
    Given a model opened through the C functions
    And a session that would write 100000 tokens
    When the model is unloaded
    Then reading the session should end or be refused, within 2 seconds
