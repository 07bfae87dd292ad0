Feature: Handles
  A handle is a number, not an address: using one wrongly is an error that says how, never a crash.

  Scenario Outline: A handle that does not fit
    Given a model opened through the C functions
    When I ask for the memory of <handle>
    Then the answer should be <error>
    And the model should serve a new session

    Examples:
      | handle               | error                       |
      | no model             | WORKER_ERROR_INVALID_HANDLE |
      | a forged model       | WORKER_ERROR_INVALID_HANDLE |
      | an unloaded model    | WORKER_ERROR_STALE_HANDLE   |
      | a session as a model | WORKER_ERROR_WRONG_KIND     |

  Scenario: Unloaded twice
    Given a model opened through the C functions
    When I unload another model twice
    Then the answer should be WORKER_ERROR_STALE_HANDLE
    And the model should serve a new session

  Scenario: A session outlived by nothing
    Given a model opened through the C functions
    And a session that would write 100000 tokens
    When I close the session and read it
    Then the answer should be WORKER_ERROR_STALE_HANDLE
    And the model should serve a new session
