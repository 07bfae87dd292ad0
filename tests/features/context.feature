Feature: CUDA context initialization
  A context is a device made ready. Device -1 is the CPU, which every machine has; GPUs are counted from 0.

  Scenario: A valid device
    Given a valid device ID
    When I create a CudaContext
    Then the context should be initialized successfully
    And device properties should be accessible
    And the device should be healthy

  Scenario: Every GPU that is counted can be opened
    Given every device ID below the device count
    When I create a CudaContext for each
    Then every context should be initialized successfully

  Scenario: Contexts live side by side
    Given two contexts on valid devices
    When each loads the model
    Then both models should give the same greedy words
